"""The screen: data cannot steer the terminal, machine formats are exact, and nobody is asked who can't answer."""

from __future__ import annotations

import io
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.program import Program
from todoctl import screen
from todoctl.errors import RefusedError, UnhealthyError
from todoctl.screen import Output

HOSTILE = [
    "\x1b[31mred\x1b[0m",  # CSI
    "\x1b]8;;http://evil/\x1b\\link\x1b]8;;\x1b\\",  # OSC 8: a link that says one thing and goes to another
    "\x1b]52;c;cm0gLXJmIH4=\x07",  # OSC 52: writes the clipboard
    "\x1b]0;title\x07",
    "\x1bP+q544e\x1b\\",  # DCS
    "\x1bc",  # full reset
    "\x9b2J\x9d0;t\x9c",  # C1 forms of CSI and OSC
    "a\rb",  # overwrites its own line
    "a\x08\x08b",
    "a\x00b\x7f",
    "\u202egnp.exe",  # bidirectional override
    "\u2066x\u2069\u200f\u061c",
    "\ud800",  # half a character, which no encoding takes
]
STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class Streams:
    """What was written to both streams, which take UTF-8 and are no terminals."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self._out = self._err = ""

    def _read(self) -> None:
        out, err = self._capsys.readouterr()
        self._out += out
        self._err += err

    @property
    def out(self) -> str:
        self._read()
        return self._out

    @property
    def err(self) -> str:
        self._read()
        return self._err


@pytest.fixture
def streams(capsys: pytest.CaptureFixture[str]) -> Streams:
    """Both streams, caught."""
    return Streams(capsys)


def nothing() -> None:
    """The table of a result that is not shown as one."""


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_data_cannot_steer_the_terminal(streams: Streams, text: str) -> None:
    """Whatever way data takes to a stream, no control character of it arrives there."""
    screen.write(text)
    screen.table(("NAME",), [(text,)])
    screen.pairs({"key": text})
    screen.verdict("fail", text, text, text)
    for output in (Output.json, Output.jsonl, Output.yaml):
        screen.show({"text": text, text: 1}, output, nothing)
    for say in (screen.ok, screen.note, screen.warn, screen.bad):
        say(text)
    screen.fail(UnhealthyError(text, hint=text, detail=(text,)))
    with screen.board() as board:
        board.update("part", "starting", text, 0.1)
    written = streams.out + streams.err
    assert len(written.splitlines()) > 20
    assert not STEERING.search(written)


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
@pytest.mark.parametrize("output", [Output.json, Output.jsonl, Output.yaml])
def test_machine_formats_keep_every_character(streams: Streams, output: Output, text: str) -> None:
    """What is written for programs reads back as the very same text."""
    screen.show({"text": text}, output, nothing)
    read = yaml.safe_load if output is Output.yaml else json.loads
    assert read(streams.out) == {"text": text}


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("plain", "plain"),
        ("Grüße, 世界 🎉", "Grüße, 世界 🎉"),
        ("tab\there", "tab\there"),
        ("\x1b[31m", "\\x1b[31m"),
        ("\x9b", "\\x9b"),
        ("\u202e", "\\x202e"),
    ],
)
def test_clean(text: str, seen: str) -> None:
    """Readable text stays as it is; what steers is shown as its number."""
    assert screen.clean(text) == seen


def test_data_of_several_lines_cannot_pass_for_a_line_of_ours(streams: Streams) -> None:
    """What follows a line break in data is indented and marked."""
    screen.write("message\n✔ the platform is up")
    screen.fail(UnhealthyError("failed", detail=("one\n✔ two",), hint="next\n✔ three"))
    assert not [line for line in (streams.out + streams.err).splitlines() if line.startswith("✔")]
    assert streams.out == "message\n  │ ✔ the platform is up\n"


@pytest.mark.parametrize("value", [[], {}, None, [{"a": 1, "b": None}, {"a": 2.5, "b": "ü"}], {"b": [1], "a": {}}])
def test_every_format_says_the_same(streams: Streams, value: Any) -> None:
    """JSON and YAML read back as the value, keys in the order that they have."""
    screen.show(value, Output.json, nothing)
    assert json.loads(streams.out) == value
    if isinstance(value, dict):
        assert list(json.loads(streams.out)) == list(value)


@pytest.mark.parametrize(("value", "lines"), [([], 0), ([1, 2], 2), ({"a": 1}, 1), ([{"a": "x\ny"}], 1)])
def test_jsonl_is_one_row_to_a_line(streams: Streams, value: Any, lines: int) -> None:
    """A list is a line for each item, anything else is one line, whatever is in it."""
    screen.show(value, Output.jsonl, nothing)
    rows = [json.loads(line) for line in streams.out.splitlines()]
    assert len(rows) == lines
    assert rows == (value if isinstance(value, list) else [value])


def test_tables_call_for_the_table(streams: Streams) -> None:
    """For people the caller's table is written, and nothing else."""
    screen.show([1], Output.table, lambda: screen.write("mine"))
    assert streams.out == "mine\n"


def test_a_table_without_a_terminal_is_not_folded(streams: Streams) -> None:
    """Another program gets each row on one line, markup and emoji codes as they are."""
    screen.table(("NAME", "VALUE"), [("a", "x" * 300), ("[bold]b[/bold]", ":smile:"), (None, 7)])
    heading, *rows = streams.out.splitlines()
    assert heading.split() == ["NAME", "VALUE"]
    assert [row.split() for row in rows] == [["a", "x" * 300], ["[bold]b[/bold]", ":smile:"], ["7"]]


def test_narration_goes_to_stderr(streams: Streams) -> None:
    """What is said while working is not part of the result."""
    for say in (screen.ok, screen.note, screen.warn, screen.bad):
        say("text")
    assert streams.out == ""
    assert streams.err == "✔ text\n► text\n⚠ text\n✗ text\n"


def test_a_failure_says_what_was_seen_and_what_is_next(streams: Streams) -> None:
    """Message, detail line by line, next command."""
    screen.fail(UnhealthyError("kafka died", detail=("line one", "line two"), hint="todoctl logs kafka"))
    assert streams.err == "✗ kafka died\n  │ line one\n  │ line two\n  next: todoctl logs kafka\n"


@pytest.mark.parametrize(
    ("word", "seen"),
    [
        ("ok", "✔ disk: full\n"),
        ("warn", "⚠ disk: full\n    fix: free some\n"),
        ("fail", "✗ disk: full\n    fix: free some\n"),
    ],
)
def test_verdicts(streams: Streams, word: str, seen: str) -> None:
    """A check is one line, with its fix below it where something is wrong."""
    screen.verdict(word, "disk", "full", "free some")
    assert streams.out == seen


def test_pairs_are_aligned(streams: Streams) -> None:
    """Names are filled up to the longest one."""
    screen.pairs({"a": 1, "long name": None})
    screen.pairs({})
    assert streams.out == "a          1\nlong name  None\n"


def test_without_a_terminal_the_board_is_lines(streams: Streams) -> None:
    """Each change of state is a line; what a part waits for is said at once and then every five seconds."""
    with screen.board() as board:
        board.update("kafka", "waiting", "for tool jre", 0.0)
        board.update("kafka", "starting", "", 1.0)
        board.update("kafka", "starting", "does not listen", 1.1)
        board.update("kafka", "starting", "does not listen", 6.5)
        board.update("kafka", "ready", "port 9092", 7.0)
        board.update("api", "failed", "died", 7.5)
    assert [line.split() for line in streams.err.splitlines()] == [
        ["►", "1.0s", "kafka", "starting"],
        ["►", "6.5s", "kafka", "starting", "does", "not", "listen"],
        ["✔", "7.0s", "kafka", "ready", "port", "9092"],
        ["✗", "7.5s", "api", "failed", "died"],
    ]
    assert streams.out == ""


def test_agreement_given_beforehand_asks_nobody(streams: Streams) -> None:
    """With --yes nothing is asked."""
    screen.confirm("remove all?", yes=True)
    assert streams.err == ""


def test_nobody_is_asked_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe with `y` in it is no person; neither is a stdin that is closed."""
    for stdin in (io.StringIO("y\n"), None):
        monkeypatch.setattr(sys, "stdin", stdin)
        with pytest.raises(RefusedError, match="not done without agreement: remove all\\?") as caught:
            screen.confirm("remove all?", yes=False)
        assert (caught.value.hint, caught.value.exit_code) == ("add --yes to agree", 8)


SHOW = """
import sys
from todoctl import screen
with screen.board() as board:
    for state in ("waiting", "starting", "ready"):
        board.update("kafka", state, "[bold]port\\x1b]52;c;eA==\\x07", 1.0)
screen.table(("NAME", "STATE"), [("kafka", "ready"), ("api", "failed")])
screen.verdict("fail", "disk", "full", "free some")
"""


def test_a_terminal_gets_a_live_tree_and_colour(tmp_path: Path) -> None:
    """On a terminal the board is redrawn in place and words have colours; data still steers nothing."""
    ended = Program(tmp_path, {"TERM": "xterm-256color"}).on_terminal(sys.executable, "-c", SHOW)
    assert ended.code == 0, ended.out
    assert "\x1b[32m" in ended.out
    assert "\x1b[31m✗\x1b[0m disk: full" in ended.out
    assert "[bold]port" in ended.out
    assert "\x1b]52" not in ended.out


def test_no_color_on_a_terminal(tmp_path: Path) -> None:
    """NO_COLOR takes every colour away, also from the tree and the table."""
    ended = Program(tmp_path, {"TERM": "xterm-256color", "NO_COLOR": "1"}).on_terminal(sys.executable, "-c", SHOW)
    assert ended.code == 0, ended.out
    assert not re.search(r"\x1b\[(?:\d+;)*(?:3|4|9|10)[0-8](?:;\d+)*m", ended.out)
