"""From the last lines of a log to the likely fix."""

from __future__ import annotations

import re
from collections.abc import Sequence

_FIXES: tuple[tuple[str, str], ...] = (
    (
        r"address already in use|Failed to bind|could not bind",
        "a port is taken: todoctl down && todoctl up moves to a free one",
    ),
    (r"No space left on device|disk quota exceeded", "the disk is full: free some space, then todoctl up"),
    (r"Permission denied", "a file belongs to somebody else: look at the path above, or choose another TODOCTL_HOME"),
    (r"password authentication failed", "the roles and the secrets differ: todoctl up sets the passwords anew"),
    (r"OutOfMemory|Cannot allocate memory|Killed", "the machine is out of memory: end something, then todoctl up"),
    (
        r"lock file .* already exists|Failed to acquire lock",
        "another process holds the data: todoctl down, then todoctl up",
    ),
    (
        r"InconsistentClusterId|meta\.properties|recovery.*failed|could not locate a valid checkpoint",
        "the data is damaged: todoctl down --purge && todoctl up starts afresh",
    ),
    (
        r"ModuleNotFoundError|ImportError|SyntaxError|NameError|AttributeError|TypeError",
        "the service's code fails: mend it, then todoctl restart {part}",
    ),
    (r"relation .* does not exist|UndefinedTable", "the schema is behind: todoctl db migrate"),
    (r"UnsupportedClassVersion", "Java is too old: todoctl tools install jre"),
)


def likely_fix(part: str, lines: Sequence[str]) -> str:
    """The next step that the end of a part's log suggests; its whole log where nothing is recognised."""
    text = "\n".join(lines)
    for pattern, fix in _FIXES:
        if re.search(pattern, text, re.IGNORECASE):
            return fix.replace("{part}", part)
    return f"todoctl logs {part}"
