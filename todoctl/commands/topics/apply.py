"""`todoctl topics apply`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated

import typer

from todoctl import screen
from todoctl.commands import context
from todoctl.core.topics import Change, wanted_topics
from todoctl.errors import DifferenceError
from todoctl.operations.kafka import apply as operation
from todoctl.screen import Output


def apply(
    ctx: typer.Context,
    check: Annotated[bool, typer.Option("--check", help="Change nothing; exit 4 when something differs.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Agree to changes that may lose something, too.")] = False,
    output: Annotated[Output, typer.Option("-o", "--output", help="How to write the differences.")] = Output.table,
) -> None:
    """Make the cluster's topics agree with the chart.

    The differences are shown first. Without --yes only what loses nothing is done: topics are created, partitions
    added, limits raised. Partitions are never taken away. Exit 4 when something still differs afterwards.
    """
    there = context.platform(ctx)
    chart, broker = there.values, there.broker()
    wanted = wanted_topics(chart)
    found = operation.plan(broker, wanted)
    screen.show([asdict(change) for change in found], output, lambda: _table(found))
    if check:
        if found:
            raise DifferenceError(f"{len(found)} differences from the chart", hint="todoctl topics apply")
        return
    agreed = [change for change in found if change.verdict == "safe" or (yes and change.verdict == "risky")]
    for change in operation.execute(broker, wanted, agreed):
        screen.ok(f"{change.topic}: {change.setting} {change.have} → {change.want}")
    _say_what_is_left([change for change in found if change not in agreed])


def _say_what_is_left(left: Sequence[Change]) -> None:
    if not left:
        return
    lines = tuple(f"{change.topic} {change.setting} {change.have} → {change.want}: {change.why}" for change in left)
    waits = any(change.verdict == "risky" for change in left)
    raise DifferenceError(
        f"{len(left)} differences are left",
        detail=lines,
        hint="todoctl topics apply --yes" if waits else "change the chart, or the topic with the cluster's own tools",
    )


def _table(found: Sequence[Change]) -> None:
    if not found:
        screen.write("the topics are as the chart says")
        return
    rows = [(one.topic, one.setting, one.have, one.want, one.verdict, one.why) for one in found]
    screen.table(("TOPIC", "SETTING", "IS", "CHART", "CHANGE", "WHY"), rows)
