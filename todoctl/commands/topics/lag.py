"""`todoctl topics lag`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Annotated

import typer

from todoctl import screen
from todoctl.commands import context
from todoctl.core.lag import Limit, PartitionLag, parse_limit
from todoctl.core.logs import parse_duration
from todoctl.errors import TodoctlError, UnhealthyError, UsageError, WaitTimeoutError
from todoctl.operations.kafka.lag import observe
from todoctl.screen import Output

Look = Callable[[], list[PartitionLag]]

_PAUSE = 1.0  # seconds between two looks


def lag(
    ctx: typer.Context,
    topics: Annotated[list[str] | None, typer.Argument(metavar="[TOPIC]...", help="Only these topics.")] = None,
    group: Annotated[list[str] | None, typer.Option("-g", "--group", metavar="NAME", help="Only this group.")] = None,
    most: Annotated[
        str | None,
        typer.Option("--max", metavar="LIMIT", help="Exit 3 above this many messages, or seconds such as 30s."),
    ] = None,
    wait: Annotated[
        str | None, typer.Option(metavar="TIME", help="With --max: wait this long for it, then exit 7.")
    ] = None,
    output: Annotated[Output, typer.Option("-o", "--output", help="How to write the result.")] = Output.table,
) -> None:
    """Show how far each group is behind on each partition, in messages and in seconds.

    The seconds are the age of the oldest record that the group has not read. A group without members, without commits
    or that the broker doesn't know has no number, and is above every limit.
    """
    limit, seconds = _limit(most), _seconds(wait)
    if wait is not None and limit is None:
        raise UsageError("--wait waits for a limit", hint="add --max, such as --max 0")
    there = context.platform(ctx)
    chart, broker = there.values, there.broker()

    def look() -> list[PartitionLag]:
        return observe(broker, chart, replicas=there.replicas, only_groups=group or (), only_topics=topics or ())

    rows = look() if limit is None or seconds is None else _wait(look, limit, seconds)
    screen.show([asdict(row) for row in rows], output, lambda: _table(rows))
    if limit is not None and (behind := _behind(rows, limit)):
        lines = _summary(behind)
        if seconds is not None:
            raise WaitTimeoutError(f"above {limit} still after {wait}", detail=lines, hint="todoctl doctor")
        raise UnhealthyError(f"above {limit}", detail=lines, hint="todoctl doctor")
    if limit is not None and not rows:
        raise UnhealthyError("no group reads these topics: nothing was checked", hint="todoctl groups list")


def _wait(look: Look, limit: Limit, seconds: float) -> list[PartitionLag]:
    """The first look within the limit, or the last one before the deadline; a broker that comes back is waited for."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            rows = look()
            if rows and not _behind(rows, limit):
                return rows
        except TodoctlError:
            if time.monotonic() >= deadline:
                raise
            rows = []
        if time.monotonic() >= deadline:
            return rows
        if rows:
            first = _behind(rows, limit)[0]
            screen.note(f"waiting: {_name(first)}: {_said(first)}")
        time.sleep(min(_PAUSE, max(0.0, deadline - time.monotonic())))


def _summary(rows: Sequence[PartitionLag]) -> tuple[str, ...]:
    """A line for each row, but one for the partitions of a topic of which the same is to be said."""
    said: dict[tuple[str, str, str], list[int]] = {}
    for row in rows:
        said.setdefault((row.group, row.topic, _said(row)), []).append(row.partition)
    return tuple(
        f"{group} {topic}/{','.join(map(str, partitions))}: {text}"
        if partitions != [-1]
        else f"{group} {topic}".rstrip() + f": {text}"
        for (group, topic, text), partitions in said.items()
    )


def _behind(rows: Sequence[PartitionLag], limit: Limit) -> list[PartitionLag]:
    return [row for row in rows if not limit.is_kept(row)]


def _table(rows: Sequence[PartitionLag]) -> None:
    cells = [
        (
            row.group,
            row.topic or "-",
            row.partition if row.partition >= 0 else "-",
            "-" if row.committed is None else row.committed,
            row.end if row.end >= 0 else "-",
            "unknown" if row.messages is None else row.messages,
            "unknown" if row.seconds is None else f"{row.seconds:.1f}",
            row.problem or ("reads only what is new; nothing committed yet" if row.owes_nothing else ""),
        )
        for row in rows
    ]
    screen.table(("GROUP", "TOPIC", "PARTITION", "COMMITTED", "END", "MESSAGES", "SECONDS", "DETAIL"), cells)


def _name(row: PartitionLag) -> str:
    return f"{row.group} {row.topic}/{row.partition}" if row.partition >= 0 else f"{row.group} {row.topic}".rstrip()


def _said(row: PartitionLag) -> str:
    if row.messages is None:
        return row.problem
    age = "" if row.seconds is None else f", the oldest {row.seconds:.1f} s old"
    return f"{row.messages} messages{age}{f'; {row.problem}' if row.problem else ''}"


def _limit(text: str | None) -> Limit | None:
    try:
        return None if text is None else parse_limit(text)
    except ValueError as error:
        raise UsageError(f"--max: {error}") from error


def _seconds(text: str | None) -> float | None:
    try:
        return None if text is None else parse_duration(text).total_seconds()
    except (ValueError, OverflowError) as error:
        raise UsageError(f"--wait: {error}") from error
