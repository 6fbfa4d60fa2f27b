"""Editing a dead record in one's own editor: what is typed is taken, asked about, or kept, and never lost."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.live.letters import event
from todoctl.commands.dlq.by_hand import by_hand
from todoctl.core.events import TASK_EVENTS

_, RECORD = event(1)

# Each run of the editor does the next step; it writes down what it was shown.
EDITOR = """
import pathlib, sys
steps, path = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
left = steps.read_text().splitlines()
shown = path.read_text()
with open(steps.with_name("shown"), "a") as log:
    log.write(shown + "\\0")
old, _, new = left[0].partition("=>")
path.write_text(shown.replace(old, new) if old else shown)
steps.write_text("\\n".join(left[1:]) + "\\n")
"""


def edited(folder: Path, *steps: str, can_ask: bool = True) -> tuple[bytes, list[str]]:
    """What becomes of the record when the editor replaces what each step says, and what the editor was shown."""
    (folder / "editor.py").write_text(EDITOR)
    (folder / "steps").write_text("\n".join(steps) + "\n")
    environ = {"EDITOR": f"{sys.executable} {folder / 'editor.py'} {folder / 'steps'}"}
    found = by_hand(environ, can_ask=can_ask)(TASK_EVENTS, RECORD)
    return found, (folder / "shown").read_text().split("\0")[:-1]


def test_a_record_is_edited(tmp_path: Path) -> None:
    """It is shown for a reader, and taken as compact JSON; left as it was it is the very bytes."""
    found, shown = edited(tmp_path, "Write=>Read")
    assert json.loads(found) == json.loads(RECORD.replace(b"Write", b"Read"))
    assert json.loads(shown[0]) == json.loads(RECORD)
    assert edited(tmp_path, "=>")[0] == RECORD


SLIPS = [
    pytest.param('"version": 2=>"version" 2', '"version" 2=>"version": 3', "no JSON", id="no JSON"),
    pytest.param('"version": 2=>"version": "x"', '"version": "x"=>"version": 3', "does not fit", id="no event"),
]


@pytest.mark.parametrize(("slip", "mend", "said"), SLIPS)
def test_a_slip_is_shown_with_what_was_typed(tmp_path: Path, slip: str, mend: str, said: str) -> None:
    """The reason stands above it and is no part of the record; mended it is taken."""
    found, shown = edited(tmp_path, slip, mend)
    assert b'"version":3' in found
    assert said in shown[1].splitlines()[0]
    assert slip.partition("=>")[2] in shown[1]


@pytest.mark.parametrize(("slip", "said"), [slip.values[::2] for slip in SLIPS])
def test_a_slip_that_is_saved_once_more_is_given_up(tmp_path: Path, slip: str, said: str) -> None:
    """What was typed is in the file that the reason names."""
    with pytest.raises(ValueError, match=said) as given_up:
        edited(tmp_path, slip, "=>")
    kept = Path(str(given_up.value).rpartition(" ")[2])
    assert slip.partition("=>")[2] in kept.read_text()
    kept.unlink()


def test_without_a_terminal_nobody_is_asked_again(tmp_path: Path) -> None:
    """The editor is a program then, and would do the same for ever; what it left is kept."""
    with pytest.raises(ValueError, match="no JSON") as ended:
        edited(tmp_path, "}=>", "}=>", can_ask=False)
    kept = Path(str(ended.value).rpartition(" ")[2])
    assert kept.read_text().count("{") > kept.read_text().count("}")
    kept.unlink()
    assert (tmp_path / "shown").read_text().count("\0") == 1
