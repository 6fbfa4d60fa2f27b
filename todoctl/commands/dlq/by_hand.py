"""Editing a record in the person's own editor, until it fits or is given up; what was typed is never lost."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from todoctl.adapters.editor import edit
from todoctl.core.dlq import edits
from todoctl.core.dlq.planning import Edit

# JSON knows no comments; no document begins with one of these.
_NOTE = "# "


def by_hand(environ: Mapping[str, str], *, can_ask: bool) -> Edit:
    """Edits in the editor that `environ` names; where somebody can be asked, what does not fit is shown once more.

    The edit raises ValueError with where the typed text is kept when it does not fit and is given up, and what
    `editor.edit` raises.
    """

    def edited(topic: str, value: bytes) -> bytes:
        shown = "\n".join(edits.pretty(value)) + "\n"
        text = shown
        while True:
            left = edit(text, environ=environ, name="record.json")
            typed = _without_notes(left)
            if typed == shown:
                return value
            changed, refusal = _read(topic, value, typed)
            if refusal is None:
                return changed
            if left == text or not can_ask:
                raise ValueError(f"{refusal}; what was typed is kept in {_kept(typed)}")
            text = f"{_NOTE}{refusal}\n{_NOTE}Mend it, or save it unchanged to give it up.\n{typed}"

    return edited


def _read(topic: str, value: bytes, typed: str) -> tuple[bytes, str | None]:
    """The record that was typed, and why it may not be."""
    try:
        changed = json.dumps(json.loads(typed), ensure_ascii=False, separators=(",", ":")).encode()
    except ValueError as error:
        return b"", f"it is no JSON: {error}"
    return changed, edits.against(topic, value, changed)


def _without_notes(text: str) -> str:
    lines = text.splitlines(keepends=True)
    while lines and lines[0].startswith(_NOTE.strip()):
        del lines[0]
    return "".join(lines)


def _kept(typed: str) -> Path:
    handle, name = tempfile.mkstemp(prefix="todoctl-record-", suffix=".json")
    with os.fdopen(handle, "w", encoding="utf-8", errors="surrogatepass") as file:
        file.write(typed)
    return Path(name)
