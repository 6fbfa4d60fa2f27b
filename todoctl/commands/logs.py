"""`todoctl logs`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer

from todoctl import screen
from todoctl.commands import context
from todoctl.core.logs import LEVELS, LogFilter, LogLine, parse_duration, parse_time
from todoctl.errors import UsageError
from todoctl.screen import Output

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def main(
    ctx: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Services (with their sidecars) or parts; all by default."),
    ] = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on with what is written from now on.")] = False,
    since: Annotated[str | None, typer.Option(metavar="TIME", help="A duration such as 15m, or an ISO time.")] = None,
    grep: Annotated[str | None, typer.Option(metavar="REGEX", help="Only lines that match.")] = None,
    level: Annotated[
        str, typer.Option(metavar="LEVEL", help="Only this level and above: debug, info, warn, error.")
    ] = "debug",
    correlation: Annotated[str | None, typer.Option(metavar="ID", help="Only lines with this correlation id.")] = None,
    output: Annotated[
        Output, typer.Option("-o", "--output", help="table for people, jsonl for programs.")
    ] = Output.table,
) -> None:
    """Show logs of apps and sidecars, merged in time order."""
    there = context.platform(ctx)
    parts = _parts(there.log_parts(), names or [])
    wanted = LogFilter(_since(since), _level(level), _pattern(grep), correlation)
    for line in there.logs(parts, wanted, follow=follow):
        _write(line, output, now=follow)


def _parts(known: Mapping[str, Sequence[str]], names: list[str]) -> list[str]:
    """The parts meant by the names; all of them where none is given."""
    if unknown := [name for name in names if name not in known]:
        raise UsageError(f"no part is called {', '.join(map(repr, unknown))}; there are: {', '.join(known)}")
    return list(dict.fromkeys(part for name in names or known for part in known[name]))


def _since(text: str | None) -> datetime | None:
    if text is None:
        return None
    if (moment := parse_time(text)) is not None:
        return moment
    try:
        return datetime.now(UTC) - parse_duration(text)
    except OverflowError as error:
        raise UsageError(f"--since: {text!r} is further back than time can be written") from error
    except ValueError as error:
        raise UsageError(f"--since: {error}, or an ISO time") from error


def _level(text: str) -> str:
    if text.lower() not in LEVELS:
        raise UsageError(f"--level: {text!r} is not one of {', '.join(LEVELS)}")
    return text.lower()


def _pattern(text: str | None) -> re.Pattern[str] | None:
    try:
        return re.compile(text) if text is not None else None
    except re.error as error:
        raise UsageError(f"--grep: {text!r} is not a regular expression: {error}") from error


def _write(line: LogLine, output: Output, *, now: bool) -> None:
    if output is Output.table:
        moment = f"{line.time:%Y-%m-%dT%H:%M:%S}.{line.time.microsecond // 1000:03}Z"
        part = f"{line.part} {line.instance}".rstrip()
        screen.write(f"{moment} {part:<16} {line.level:<5} {line.text}", now=now)
        return
    row = {
        "time": line.time.isoformat(),
        "part": line.part,
        "instance": line.instance,
        "level": line.level,
        "correlation_id": line.correlation_id,
        "text": line.text,
    }
    screen.show(row, Output.jsonl, lambda: None)
