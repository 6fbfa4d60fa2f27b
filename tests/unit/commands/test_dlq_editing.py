"""Edits by hand, with real editors that are small scripts: nothing that somebody typed is lost."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.unit.core.dlq.test_planning import LETTER, VALUE
from todoctl.commands.dlq.editing import ByHand
from todoctl.core.dlq.plan import Entry
from todoctl.errors import MissingError, PartialError, TodoctlError

_RENAME = "text = text.replace('Write', 'Read')"
_SLIP = f"{_RENAME}.replace('\"Read\",', '\"Read\"')"
_MEND = "text = text.replace('\"Read\"\\n', '\"Read\",\\n')"


@dataclass
class Desk:
    """A folder with an editor that does each of its steps in turn: Python that changes `text`."""

    folder: Path
    seen: list[str] = field(default_factory=list)

    def hands(self, *steps: str, to_ask: bool = True) -> ByHand:
        """Somebody whose editor does this."""
        script = self.folder / "editor.py"
        script.write_text(
            "import sys\nfrom pathlib import Path\npath, log = Path(sys.argv[-1]), Path(sys.argv[1])\n"
            f"text, steps, done = path.read_text(), {steps!r}, len(list(log.iterdir()))\n"
            "(log / f'{done}').write_text(text)\nexec(steps[done])\npath.write_text(text)\n"
        )
        log = self.folder / f"log{len(self.seen)}"
        log.mkdir()
        self.seen.append(str(log))
        return ByHand(self.folder / "drafts", {"EDITOR": f"{sys.executable} {script} {log}"}, to_ask)

    def shown(self) -> list[str]:
        """What the last editor was shown, one text for each time that it was opened."""
        return [path.read_text() for path in sorted(Path(self.seen[-1]).iterdir())]

    @property
    def drafts(self) -> list[Path]:
        """The texts that are kept."""
        return sorted((self.folder / "drafts").glob("*"))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """An empty folder."""
    return Desk(tmp_path)


def entry(*, edited: bool, because: str | None = None) -> Entry:
    """What the plan says of the letter."""
    act = "replay" if edited else "skip"
    return Entry(LETTER.partition, LETTER.offset, LETTER.digest, act, is_edited=edited, because=because)


def titles(value: bytes) -> str:
    """The title in an event."""
    return str(json.loads(value)["data"]["payload"]["task"]["title"])


def test_a_slip_opens_the_editor_again_with_the_text_and_what_is_wrong(desk: Desk) -> None:
    """As kubectl edit does it; mended, the text is taken, and forgotten once the plan has it."""
    hands = desk.hands(_SLIP, _MEND)
    assert titles(hands.edit(LETTER, VALUE)) == "Read"
    first, again = desk.shown()
    assert "#" not in first
    why, how, rest = again.split("\n", 2)
    assert why.startswith("# Not taken: it is no JSON, line ")
    assert '"Read"' in rest
    assert how.startswith("# Mend it")
    assert len(desk.drafts) == 1
    hands.keep(entry(edited=True))
    hands.end()
    assert desk.drafts == []


@pytest.mark.parametrize("text", ['""', "'['*99999", "'{\"a\": 1}'", "'\\\\ud800'.join('\"\"')"])
def test_whatever_was_typed_is_shown_again(desk: Desk, text: str) -> None:
    """No text at all, what is nested too deep, what the consumers' model refuses, half a surrogate."""
    hands = desk.hands(f"text = {text}", "pass")
    if text == '""':
        # An empty file is how an editor is left without a change.
        assert hands.edit(LETTER, VALUE) == VALUE
        return
    with pytest.raises(ValueError, match=r"no JSON|does not fit|changes the event"):
        hands.edit(LETTER, VALUE)
    assert len(desk.shown()) == 2
    assert len(desk.drafts) == 1


def test_a_text_that_is_saved_as_it_is_is_given_up_and_kept(desk: Desk) -> None:
    """The plan goes without the letter, the command ends with 6 and names the file; the next one goes on with it."""
    hands = desk.hands(_SLIP, "pass")
    with pytest.raises(ValueError, match="no JSON") as slip:
        hands.edit(LETTER, VALUE)
    hands.keep(entry(edited=False, because=f"edit failed: {slip.value}"))
    with pytest.raises(PartialError, match="what you typed is kept") as ended:
        hands.end()
    [draft] = desk.drafts
    assert (str(draft) in ended.value.detail[0], ended.value.hint) == (
        True,
        "todoctl dlq plan 0/5 --edit goes on with it",
    )
    assert '"Read"' in draft.read_text()
    assert titles(desk.hands(_MEND).edit(LETTER, VALUE)) == "Read"


def test_nobody_is_asked_twice_without_a_terminal(desk: Desk) -> None:
    """An editor that is a script would make the same slip for ever."""
    with pytest.raises(ValueError, match="no JSON"):
        desk.hands(_SLIP, to_ask=False).edit(LETTER, VALUE)
    assert len(desk.shown()) == len(desk.drafts) == 1


def test_an_editor_that_fails_takes_no_text_with_it(desk: Desk) -> None:
    """Saved and then left with an error: the message names the file. Not changed: nothing is left behind."""
    with pytest.raises(TodoctlError, match="ended with 3") as failed:
        desk.hands(f"{_RENAME}; path.write_text(text); sys.exit(3)").edit(LETTER, VALUE)
    [draft] = desk.drafts
    assert str(draft) in failed.value.detail[0]
    assert titles(desk.hands("pass").edit(LETTER, VALUE)) == "Read"
    draft.unlink()
    with pytest.raises(TodoctlError, match="ended with 3"):
        desk.hands("sys.exit(3)").edit(LETTER, VALUE)
    with pytest.raises(MissingError):
        ByHand(desk.folder / "drafts", {"EDITOR": "no-such-editor"}, to_ask=True).edit(LETTER, VALUE)
    assert desk.drafts == []


def test_an_edit_that_the_plan_refuses_is_kept(desk: Desk) -> None:
    """It was good JSON that fits, but is too large for the topic: the planner says so after the editor is left."""
    hands = desk.hands(_RENAME)
    hands.edit(LETTER, VALUE)
    hands.keep(entry(edited=False, because="too large: 12 bytes"))
    with pytest.raises(PartialError) as ended:
        hands.end()
    assert "too large" in ended.value.detail[0]
    assert len(desk.drafts) == 1


def test_a_record_that_nobody_changed_keeps_its_bytes(desk: Desk) -> None:
    """Also where only its spaces were changed: its JSON is the same."""
    assert desk.hands("pass").edit(LETTER, VALUE) == VALUE
    compact = json.dumps(json.loads(VALUE), separators=(",", ":")).encode()
    assert desk.hands("text = text.replace('  ', ' ')").edit(LETTER, compact) == compact
    assert desk.drafts == []
