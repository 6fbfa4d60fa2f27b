"""`todoctl topics tail`."""

from __future__ import annotations

import select
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from types import FrameType
from typing import Annotated, Any

import typer

from todoctl import screen
from todoctl.adapters.collector import uncollected
from todoctl.commands import context
from todoctl.core.positions import BEGINNING, END, Position, Resume, parse_position, parse_resume
from todoctl.errors import TodoctlError, UsageError
from todoctl.operations.kafka.filters import Filter
from todoctl.operations.kafka.tail import Reading, Request

_LAST = 10  # records that are shown when nothing else is asked for

# Messages that are encoded together: each is looked at several times while it is in the processor's cache (with 4000 it
# took half as long again), and one that is unlike the others slows no more than these.
_AT_ONCE = 1000

Write = Callable[[list[Any]], None]


class TailOutput(StrEnum):
    """How records are written to stdout."""

    table = "table"
    raw = "raw"
    json = "json"
    jsonl = "jsonl"


def tail(
    ctx: typer.Context,
    topics: Annotated[list[str], typer.Argument(metavar="TOPIC...", help="Topics to read.")],
    start: Annotated[
        str | None,
        typer.Option("--from", metavar="WHERE", help="Begin here: beginning, end, an offset, a time, or how long ago."),
    ] = None,
    stop: Annotated[
        str | None,
        typer.Option("--to", "--until", metavar="WHERE", help="End before this; `end` is the end as it is now."),
    ] = None,
    last: Annotated[int | None, typer.Option("-n", "--last", metavar="N", min=0, help="Only the newest N.")] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with what comes.")] = False,
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="Stop after N records.")] = None,
    partition: Annotated[
        list[int] | None, typer.Option("-p", "--partition", metavar="N", help="Only this partition.")
    ] = None,
    key: Annotated[str | None, typer.Option(metavar="KEY", help="Only this key; * and ? make a pattern.")] = None,
    header: Annotated[
        list[str] | None, typer.Option(metavar="NAME[=VALUE]", help="Only with this header; VALUE may be a pattern.")
    ] = None,
    kind: Annotated[
        list[str] | None, typer.Option("--type", metavar="TYPE", help="Only events of this type, such as 'task.*'.")
    ] = None,
    user: Annotated[str | None, typer.Option(metavar="ID", help="Only events of this user.")] = None,
    correlation: Annotated[str | None, typer.Option(metavar="ID", help="Only events with this correlation id.")] = None,
    json: Annotated[
        list[str] | None,
        typer.Option(metavar="PATH[=VALUE]", help="Only where this JSON path finds something, or finds VALUE."),
    ] = None,
    text: Annotated[str | None, typer.Option(metavar="TEXT", help="Only where the value contains TEXT.")] = None,
    output: Annotated[
        TailOutput, typer.Option("-o", "--output", help="How to write records; raw is the values' own bytes.")
    ] = TailOutput.table,
    pattern: Annotated[
        str | None,
        typer.Option("--format", metavar="FORMAT", help=r"Own format: %t %p %o %k %K %s %S %T %d %h %% \n \t \r \0."),
    ] = None,
    by_time: Annotated[
        bool | None,
        typer.Option(
            "--by-time/--as-it-comes",
            help="Merge partitions by time, or take them as they come; raw of one topic comes as it comes.",
        ),
    ] = None,
    resume: Annotated[
        str | None, typer.Option(metavar="TOKEN", help="Go on where an earlier reading ended; it printed the token.")
    ] = None,
) -> None:
    """Show records of topics, merged by time: the last ten, or what the options say.

    With --from, --to or --resume it ends where the topics end now, with -f it goes on until interrupted. Only
    committed records are shown. On stderr it says at the end how to go on from there.
    """
    ends = _Ends(start, stop, last, follow, resume)
    request = Request(
        topics=tuple(dict.fromkeys(topics)),
        start=ends.start(),
        stop=ends.stop(),
        partitions=frozenset(partition or ()),
        last=ends.last(),
        limit=limit,
        only=Filter(key, tuple(header or ()), tuple(kind or ()), user, correlation, tuple(json or ()), text),
        by_time=by_time if by_time is not None else output is not TailOutput.raw or len(topics) > 1,
        resume=ends.token(request_topics=topics),
    )
    if output is TailOutput.json and follow:
        raise UsageError("-o json is one array, which -f would never end", hint="use -o jsonl")
    write = _writer(output, pattern, request.topics[0] if len(request.topics) == 1 else None)
    _read(Reading(context.broker(ctx), request), write, is_array=output is TailOutput.json)


class _Ends:
    """The options that say where a reading begins and ends, and what they mean together."""

    def __init__(self, start: str | None, stop: str | None, last: int | None, follow: bool, resume: str | None) -> None:
        now = datetime.now(UTC)
        given = [name for name, value in (("--from", start), ("-n", last), ("--resume", resume)) if value is not None]
        if len(given) > 1:
            raise UsageError(f"{' and '.join(given)} both say where to begin", hint="give one of them")
        if follow and stop is not None:
            raise UsageError("-f has no end, --to gives it one", hint="give one of them")
        self._start, self._stop = _position("--from", start, now), _position("--to", stop, now)
        self._last, self._follow, self._resume = last, follow, resume

    def start(self) -> Position:
        return self._start or BEGINNING

    def stop(self) -> Position | None:
        return None if self._follow else self._stop or END

    def last(self) -> int | None:
        """The last few where nothing says what to begin with."""
        is_open = self._start is None and self._resume is None and self._stop is None
        return _LAST if is_open and self._last is None else self._last

    def token(self, *, request_topics: list[str]) -> Resume | None:
        if self._resume is None:
            return None
        try:
            token = parse_resume(self._resume)
        except ValueError as error:
            raise UsageError(f"--resume: {error}") from error
        if strangers := {topic for topic, _ in token.offsets} - set(request_topics):
            raise UsageError(
                f"--resume: the token is of {', '.join(sorted(strangers))}, too", hint="name the same topics"
            )
        return token


def _position(option: str, text: str | None, now: datetime) -> Position | None:
    try:
        return parse_position(text, now) if text is not None else None
    except ValueError as error:
        raise UsageError(f"{option}: {error}", hint="todoctl topics tail --help") from error


def _writer(output: TailOutput, pattern: str | None, topic: str | None) -> Write:
    from todoctl.operations.kafka import encode

    if pattern is not None:
        encoder = encode.format_encoder(pattern)
        # On a terminal a record must not steer it; elsewhere its bytes are wanted as they are.
        return _shown(encoder) if screen.width() is not None else _written(encoder)
    if output is TailOutput.raw:
        return _written(encode.raw)
    if output is TailOutput.jsonl:
        return _written(encode.json_encoder(topic=topic))
    if output is TailOutput.json:
        return _elements(encode.json_encoder(topic=topic, separator=b",\n"))
    from todoctl.commands.topics.line import line

    width = screen.width()
    return lambda batch: screen.write_lines(line(message, width) for message in batch)


def _written(encoder: Callable[[list[Any]], bytes]) -> Write:
    return lambda batch: screen.write_bytes(encoder(batch))


def _shown(encoder: Callable[[list[Any]], bytes]) -> Write:
    return lambda batch: screen.write_text(encoder(batch).decode(errors="replace"))


def _elements(encoder: Callable[[list[Any]], bytes]) -> Write:
    """Elements of one array, a comma before each but the first."""
    before = [b"[\n", b",\n"]

    def write(batch: list[Any]) -> None:
        screen.write_bytes(before.pop(0) if len(before) > 1 else before[0])
        screen.write_bytes(encoder(batch).removesuffix(b",\n"))

    return write


def _read(reading: Reading, write: Write, *, is_array: bool) -> None:
    from todoctl.adapters.kafka import columns

    count = 0
    with uncollected(), _interruptible() as interrupted:
        try:
            for batch in reading.batches():
                for part in columns.parts(batch, _AT_ONCE):
                    write(part)
                count += len(batch)
                if interrupted():
                    break
                if not batch:
                    _end_without_reader()
        except TodoctlError:
            _close(count, is_array=is_array)
            _say_how_to_go_on(reading, count)
            raise
        _close(count, is_array=is_array)
        _say_how_to_go_on(reading, count)
        if interrupted():
            raise KeyboardInterrupt


def _end_without_reader() -> None:
    """Whoever read us has ended (`| head -n 1`): a quiet topic would let us wait for the next record to notice it.

    Raises:
        BrokenPipeError: nobody reads stdout any more.
    """
    looked = select.poll()
    try:
        looked.register(sys.stdout.fileno(), 0)
    except OSError:
        return  # no stream of the system's
    if any(event & select.POLLERR for _, event in looked.poll(0)):
        raise BrokenPipeError


def _close(count: int, *, is_array: bool) -> None:
    """End the array: what was read before an error is read by a program, too."""
    if is_array:
        screen.write_bytes(b"\n]\n" if count else b"[]\n")


def _say_how_to_go_on(reading: Reading, count: int) -> None:
    for (topic, partition), offsets in reading.lost.items():
        screen.warn(f"{topic}/{partition}: {offsets} offsets were gone before they were read (retention)")
    screen.note(f"{count} records; go on with --resume '{reading.resume()}'")


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """The first Ctrl-C is seen between two batches, so that what was written is what the token says; the second ends."""
    seen: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        if seen:
            raise KeyboardInterrupt
        seen.append(number)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(seen)
    finally:
        signal.signal(signal.SIGINT, before)
