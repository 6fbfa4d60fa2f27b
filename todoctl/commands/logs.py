"""`todoctl logs`."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated

import typer

from todoctl import screen
from todoctl.commands import context
from todoctl.core.logs import LEVELS, LogLine, parse_duration, parse_time
from todoctl.core.parts import sends_mail, sidecar_name
from todoctl.core.site import Folders
from todoctl.core.values import Values
from todoctl.errors import UnhealthyError, UsageError
from todoctl.operations.local import logs, state
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
    settings = context.settings(ctx)
    context.require_local(settings, "logs")
    parts = _parts(context.values(settings), names or [])
    wanted = logs.LogFilter(_since(since), _level(level), _pattern(grep), correlation)
    if not state.exists(settings):
        raise UnhealthyError(f"the environment {settings.name!r} was never up here", hint="todoctl up")
    folders = Folders(settings.state)
    for line in logs.read(folders, parts, wanted, follow=follow):
        _write(line, output, now=follow)


def _parts(values: Values, names: list[str]) -> list[str]:
    """The parts meant by the names; a service means itself and its sidecar."""
    services = {name: (name, sidecar_name(name)) for name in values.services}
    single = ["postgres", "kafka", "scheduler", *(["mailsink"] if sends_mail(values) else [])]
    every = [*single, *(part for pair in services.values() for part in pair)]
    if unknown := [name for name in names if name not in every]:
        raise UsageError(f"no part is called {', '.join(map(repr, unknown))}; there are: {', '.join(every)}")
    return list(dict.fromkeys(part for name in names for part in services.get(name, (name,)))) or every


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
        screen.write(
            f"{line.time:%Y-%m-%dT%H:%M:%S}.{line.time.microsecond // 1000:03}Z {line.part:<16} {line.level:<5} {line.text}",
            now=now,
        )
        return
    row = {
        "time": line.time.isoformat(),
        "part": line.part,
        "level": line.level,
        "correlation_id": line.correlation_id,
        "text": line.text,
    }
    screen.show(row, Output.jsonl, lambda: None)
