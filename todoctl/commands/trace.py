"""`todoctl trace`."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

import typer

from todoctl import screen
from todoctl.commands import context
from todoctl.core import trace_steps
from todoctl.core.logs import parse_duration
from todoctl.core.trace import Subject, Trace, parse_subject
from todoctl.errors import UnhealthyError, UsageError
from todoctl.operations import trace
from todoctl.screen import Output

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def main(
    ctx: typer.Context,
    wanted: Annotated[
        str,
        typer.Argument(
            metavar="ID", help="42, a UUID, a correlation id; or task:, event:, correlation:, letter: and the id."
        ),
    ],
    output: Annotated[Output, typer.Option("-o", "--output", help="How to write the timeline.")] = Output.table,
    since: Annotated[
        str, typer.Option(metavar="DURATION", help="How far back topics are searched for an id that no table knows.")
    ] = "1h",
    records: Annotated[
        int, typer.Option(metavar="N", min=1, help="At most so many records are read of each partition.")
    ] = 20_000,
) -> None:
    """Follow a task, event, request or dead letter through everything, and name the gap.

    One timeline over API, outbox, topics, consumers, dead letters, audit, mail and sync. Topics are searched from the
    moment of the event on, in the partition of its key, never as a whole. Exit 3 when the path is broken, or when a part
    of it could not be looked at.
    """
    subject, limits = _subject(wanted), trace.Limits(_duration(since), records)
    there = context.platform(ctx)
    told = trace_steps.tell(trace.collect(trace.edges_of(there), subject, limits), there.values)
    document = told.document()
    screen.show(document["steps"] if output is Output.jsonl else document, output, lambda: _table(told))
    _raise_if_broken(told, since)


def _subject(text: str) -> Subject:
    try:
        return parse_subject(text)
    except ValueError as error:
        raise UsageError(str(error), hint="todoctl trace --help") from error


def _duration(text: str) -> timedelta:
    try:
        return parse_duration(text)
    except (ValueError, OverflowError) as error:
        raise UsageError(f"--since: {error}") from error


def _table(told: Trace) -> None:
    rows = [
        (step.at.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] if step.at else "", step.state, step.stage, step.words)
        for step in told.steps
    ]
    screen.table(("TIME (UTC)", "STATE", "STAGE", "WHAT"), rows)


def _raise_if_broken(told: Trace, since: str) -> None:
    name = str(told.subject)
    if told.verdict == "complete":
        screen.ok(f"the path of {name} is complete; {told.records_read} records read")
    elif told.verdict == "broken":
        raise UnhealthyError(
            f"the path of {name} is broken: {told.gaps[0]}",
            detail=(*told.gaps[1:], *told.blind),
            hint="todoctl status; todoctl doctor",
        )
    elif told.blind:
        raise UnhealthyError(
            f"the path of {name} could not be seen whole: {told.blind[0]}",
            detail=tuple(told.blind[1:]),
            hint="todoctl status",
        )
    else:
        raise UnhealthyError(
            f"nothing is known of {name}: no row, nothing in the outbox, and no record since {since} ago",
            hint=f"todoctl trace {told.subject.id} --since 1d",
        )
