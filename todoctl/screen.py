"""All output of todoctl: results on stdout, narration on stderr; the only owner of Rich."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from todoctl.errors import RefusedError, TodoctlError

if TYPE_CHECKING:
    from todoctl.operations.steps import StepEvent

# C0, DEL, C1 and the bidirectional controls: text from events and logs must not steer the terminal.
# A lone surrogate can't be written at all.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class Output(StrEnum):
    """How a result is written to stdout."""

    table = "table"
    json = "json"
    yaml = "yaml"
    jsonl = "jsonl"


def clean(text: str) -> str:
    """`text` with terminal control characters made visible, so that data cannot steer the terminal."""
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def ok(message: str) -> None:
    """Say on stderr that something was done or is as it should be."""
    _say("✔", message, "green")


def note(message: str) -> None:
    """Say on stderr what happens."""
    _say("►", message, "cyan")


def warn(message: str) -> None:
    """Say on stderr what deserves attention."""
    _say("⚠", message, "yellow")


def bad(message: str) -> None:
    """Say on stderr what is wrong, when the command goes on to say more."""
    _say("✗", message, "red")


def fail(error: TodoctlError) -> None:
    """Say on stderr what failed, what was seen, and the next step."""
    bad(error.message)
    for line in error.detail:
        sys.stderr.write(f"  │ {_one(line)}\n")
    if error.hint:
        sys.stderr.write(f"  next: {_one(error.hint)}\n")


def show(value: Any, output: Output, table: Callable[[], None]) -> None:
    """Write `value` to stdout in a machine format, or call `table` to write it for a person."""
    if output is Output.json:
        sys.stdout.write(_json(value, indent=2))
    elif output is Output.yaml:
        import yaml

        text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
        sys.stdout.write(text if not _CONTROL.search(text) else yaml.safe_dump(value, sort_keys=False))
    elif output is Output.jsonl:
        for row in value if isinstance(value, list) else [value]:
            sys.stdout.write(_json(row))
    else:
        table()
    sys.stdout.flush()


def write(line: str, *, now: bool = False) -> None:
    """Write one line of a result to stdout, control characters made visible; what it goes on with is indented.

    `now` for lines that somebody waits for: a pipe gets them at once.
    """
    sys.stdout.write(_one(line) + "\n")
    if now:
        sys.stdout.flush()


def write_bytes(data: bytes) -> None:
    """Write bytes to stdout exactly as they are, at once; for output that asks for a record's own bytes."""
    sys.stdout.flush()
    out = sys.stdout.buffer
    out.write(data)
    out.flush()


def write_text(text: str) -> None:
    """Write text of data to a terminal, at once: its own lines, control characters made visible."""
    sys.stdout.write(clean(text))
    sys.stdout.flush()


def write_lines(lines: Iterable[str]) -> None:
    """Write lines of a result to stdout in one piece and at once, each as `write` does."""
    if text := "".join(f"{_one(line)}\n" for line in lines):
        sys.stdout.write(text)
        sys.stdout.flush()


def width() -> int | None:
    """How many columns stdout's terminal has; None where it is no terminal."""
    import shutil

    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def cut(text: str, most: int) -> str:
    """`text` on one line of at most `most` characters, for a cell or a line of a table: whole it is in the other outputs."""
    # What is behind would be cut off anyway, whatever its size.
    text = " ".join(text[: most + 1].split("\n"))
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _one(line: str) -> str:
    """One line's text: what it goes on with is indented, so that data can't look like a line of ours."""
    return clean(line).replace("\n", "\n  │ ")


def _json(value: Any, indent: int | None = None) -> str:
    """`value` as JSON for people too: readable text, control characters as JSON's own escapes."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    return _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", text) + "\n"


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write rows under headings to stdout; a terminal gets them folded to its width."""
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        drawn.add_column(column, overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(clean("" if cell is None else str(cell)), style=_style(str(cell))) for cell in row))
    console = _console()
    # Rich on its own would end the process with 1 when the reader goes away.
    with console.capture() as written:
        console.print(drawn)
    sys.stdout.write(written.get())


def confirm(question: str, *, yes: bool) -> None:
    """Return when `yes` is given or a person on the terminal agrees.

    Raises:
        RefusedError: nobody agreed; without a terminal nobody can.
    """
    if yes:
        return
    if not is_answered():
        raise RefusedError(f"not done without agreement: {question}", hint="add --yes to agree")
    sys.stderr.write(f"? {clean(question)} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise RefusedError("not done: the answer was no")


def is_answered() -> bool:
    """Whether somebody is at a terminal who could answer."""
    return sys.stdin is not None and sys.stdin.isatty()


class Board(Protocol):
    """Where long work shows its parts: a live tree on a terminal, plain lines elsewhere."""

    def update(self, name: str, state: str, detail: str, elapsed: float) -> None:
        """Show that `name` is now in `state` after `elapsed` seconds, waiting for or having seen `detail`."""


class _Lines:
    """One line on stderr per change of state; what a part waits for at most every five seconds."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[str, float]] = {}

    def update(self, name: str, state: str, detail: str, elapsed: float) -> None:
        last_state, said = self._last.get(name, ("", 0.0))
        if state == "waiting" or (last_state == state and elapsed - said < 5):
            return
        self._last[name] = (state, elapsed)
        say = {"ready": ok, "failed": bad}.get(state, note)
        say(f"{elapsed:6.1f}s  {name:<22} {state:<8} {detail}".rstrip())


class _Live:
    """A tree on the terminal, redrawn four times a second."""

    def __init__(self, live: Any) -> None:
        self._live = live
        self._rows: dict[str, tuple[str, str, float]] = {}

    def update(self, name: str, state: str, detail: str, elapsed: float) -> None:
        self._rows[name] = (state, detail, elapsed)
        self._live.update(self._draw())

    def _draw(self) -> Any:
        from rich.table import Table
        from rich.text import Text

        drawn = Table(box=None, pad_edge=False, show_header=False)
        for name, (state, detail, elapsed) in self._rows.items():
            glyph = {"ready": "✔", "failed": "✗", "waiting": "·"}.get(state, "►")
            cells = (glyph, name, state, f"{elapsed:.1f}s", clean(detail))
            drawn.add_row(*(Text(cell, style=_style(state), overflow="ellipsis", no_wrap=True) for cell in cells))
        return drawn


@contextmanager
def board() -> Iterator[Board]:
    """A board for long work, on stderr."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(stderr=True, markup=False, highlight=False), refresh_per_second=4) as live:
        yield _Live(live)


def follow(events: Iterable[StepEvent], on: Board | None = None) -> None:
    """Show long work as it happens, on a board of its own or on one that is there; returns at its end."""
    with nullcontext(on) if on else board() as shown:
        for event in events:
            shown.update(event.name, event.state, event.detail, event.elapsed)


def verdict(word: str, subject: str, seen: str, fix: str) -> None:
    """Write one check's verdict to stdout, with the fix below it where something is wrong."""
    glyph = {"ok": "✔", "warn": "⚠"}.get(word, "✗")
    if sys.stdout.isatty() and _colored():
        glyph = f"\x1b[{ {'ok': 32, 'warn': 33}.get(word, 31) }m{glyph}\x1b[0m"
    sys.stdout.write(f"{glyph} {_one(f'{subject}: {seen}')}\n")
    if fix and word != "ok":
        sys.stdout.write(f"    fix: {_one(fix)}\n")


def pairs(values: Mapping[str, object]) -> None:
    """Write names and values to stdout, one pair to a line."""
    width = max((len(name) for name in values), default=0)
    for name, value in values.items():
        write(f"{name:<{width}}  {value}")


def _say(glyph: str, message: str, color: str) -> None:
    if sys.stderr.isatty() and _colored():
        number = {"red": 31, "green": 32, "yellow": 33, "cyan": 36}[color]
        glyph = f"\x1b[{number}m{glyph}\x1b[0m"
    sys.stderr.write(f"{glyph} {clean(message)}\n")
    sys.stderr.flush()


def _colored() -> bool:
    import os

    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _console() -> Any:
    from rich.console import Console

    # Without a terminal nothing is folded: another program reads it.
    width = None if sys.stdout.isatty() else 10_000
    return Console(file=sys.stdout, markup=False, highlight=False, width=width, no_color=not _colored())


def _style(word: str) -> str:
    if not sys.stdout.isatty() and not sys.stderr.isatty():
        return ""
    return {
        "ready": "green",
        "healthy": "green",
        "ok": "green",
        "failed": "red",
        "unhealthy": "red",
        "fail": "red",
        "waiting": "dim",
        "starting": "cyan",
        "warn": "yellow",
    }.get(word, "")
