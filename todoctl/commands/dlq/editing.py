"""Edits of dead records by hand: what was typed is kept in a file until a plan has it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from todoctl import screen
from todoctl.adapters import editor
from todoctl.core.dlq import edits
from todoctl.core.dlq.letters import Letter
from todoctl.core.dlq.plan import Entry
from todoctl.errors import PartialError, TodoctlError

_MARK = "#"  # begins a line above the record; no JSON begins with it
_SHOWN = 60  # characters of the line with the slip


class _SlipError(ValueError):
    """What a person typed can't be taken; says why."""


@dataclass
class ByHand:
    """Opens each record in the person's editor, again while it can't be taken and somebody is there `to_ask`.

    The text is edited in a file of its own in `folder`, where it stays until `keep` has heard that the plan has it:
    whatever ends the command, run again it goes on with the text.
    """

    folder: Path
    environ: Mapping[str, str]
    to_ask: bool
    _drafts: dict[str, Path] = field(default_factory=dict)
    _refused: dict[str, str] = field(default_factory=dict)

    def edit(self, letter: Letter, value: bytes) -> bytes:
        """The record's new value; the old one's own bytes where nothing was changed.

        Raises:
            ValueError: it can't be taken, and the person gave it up, or nobody is there to ask.
        """
        pristine = "\n".join(edits.pretty(value)) + "\n"
        draft = self._draft(letter, pristine)
        while True:
            before = draft.read_bytes()
            try:
                editor.edit(draft, environ=self.environ)
            except TodoctlError as error:
                error.detail += self._kept(letter, draft, pristine)
                raise
            typed = draft.read_bytes() if draft.exists() else b""
            if not typed or _body(typed) == _body(pristine.encode()):
                self._forget(letter)
                return value
            try:
                found = _taken(letter, value, _body(typed))
            except _SlipError as slip:
                if not self.to_ask or (typed == before and typed.startswith(_MARK.encode())):
                    raise
                draft.write_bytes(_told(slip) + _body(typed))
                continue
            if found == value:
                self._forget(letter)
            return found

    def keep(self, entry: Entry) -> None:
        """Hear what became of a letter: the text of an edit that is not in the plan stays."""
        if entry.name in self._drafts and not entry.is_edited:
            self._refused[entry.name] = entry.because or "it is not in the plan"

    def end(self) -> None:
        """Forget the texts that the plan has, once that is written.

        Raises:
            PartialError: some it hasn't; says why and where they are.
        """
        for name in self._drafts.keys() - self._refused.keys():
            self._drafts[name].unlink(missing_ok=True)
        if self._refused:
            names = " ".join(self._refused)
            raise PartialError(
                f"the plan is without {len(self._refused)} of your edits; what you typed is kept",
                detail=tuple(f"{name}: {why}; kept in {self._drafts[name]}" for name, why in self._refused.items()),
                hint=f"todoctl dlq plan {names} --edit goes on with it",
            )

    def _draft(self, letter: Letter, pristine: str) -> Path:
        draft = self.folder / f"{letter.partition}-{letter.offset}-{letter.digest[:12]}.json"
        self._drafts[letter.name] = draft
        if draft.exists() and _body(draft.read_bytes()) != _body(pristine.encode()):
            screen.note(f"{letter.name}: going on with what was typed before, from {draft}")
        else:
            self.folder.mkdir(parents=True, exist_ok=True)
            draft.write_text(pristine, encoding="utf-8")
        return draft

    def _kept(self, letter: Letter, draft: Path, pristine: str) -> tuple[str, ...]:
        """Where the texts are that somebody typed."""
        if draft.exists() and _body(draft.read_bytes()) == _body(pristine.encode()):
            self._forget(letter)
        return tuple(f"{name}: what you typed is kept in {path}" for name, path in self._drafts.items())

    def _forget(self, letter: Letter) -> None:
        self._drafts.pop(letter.name).unlink(missing_ok=True)


def _body(text: bytes) -> bytes:
    """The text without the lines above the record."""
    lines = text.splitlines(keepends=True)
    while lines and lines[0].startswith(_MARK.encode()):
        lines.pop(0)
    return b"".join(lines)


def _taken(letter: Letter, before: bytes, typed: bytes) -> bytes:
    """The value in what was typed."""
    try:
        text = typed.decode()
        value = json.dumps(json.loads(text), ensure_ascii=False, separators=(",", ":")).encode()
    except json.JSONDecodeError as error:
        line = text.splitlines()[error.lineno - 1 :][:1]
        shown = f": {line[0].strip()[:_SHOWN]}" if line else ""
        raise _SlipError(f"it is no JSON, line {error.lineno} column {error.colno}: {error.msg}{shown}") from error
    except (ValueError, RecursionError) as error:
        raise _SlipError(f"it is no JSON: {error}") from error
    if letter.origin and (refusal := edits.against(letter.origin.topic, before, value)) is not None:
        raise _SlipError(refusal)
    return value


def _told(slip: _SlipError) -> bytes:
    """Why the record can't be taken, above it."""
    why = " ".join(str(slip).split())
    return (
        f"{_MARK} Not taken: {why}\n"
        f"{_MARK} Mend it and save. Saved as it is, the letter is left out of the plan, and the text is kept.\n"
    ).encode()
