"""A person's own text editor."""

from __future__ import annotations

import shlex
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from todoctl.errors import MissingError, TodoctlError


def edit(path: Path, *, environ: Mapping[str, str]) -> None:
    """Return when the person has left the file.

    Raises:
        MissingError: there is no such editor. TodoctlError: it ended with an error.
    """
    command = shlex.split(environ.get("VISUAL") or environ.get("EDITOR") or "vi")
    try:
        with _left_ctrl_c():
            ended = subprocess.run([*command, str(path)], check=False)
    except (FileNotFoundError, PermissionError) as error:
        raise MissingError(f"there is no editor {command[0]!r}", hint="export EDITOR=nano") from error
    if ended.returncode:
        raise TodoctlError(f"the editor {command[0]} ended with {ended.returncode}; nothing was planned")


@contextmanager
def _left_ctrl_c() -> Iterator[None]:
    """Ctrl-C is the editor's, which would otherwise be killed with what was typed in it."""
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
