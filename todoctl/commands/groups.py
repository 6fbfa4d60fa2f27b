"""`todoctl groups`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from todoctl import screen
from todoctl.adapters.kafka import client, groups
from todoctl.commands import context
from todoctl.core.positions import Position, parse_position
from todoctl.errors import UsageError
from todoctl.operations.kafka import lag, reset
from todoctl.screen import Output

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)

_OUTPUT = Annotated[Output, typer.Option("-o", "--output", help="How to write the result.")]
_GROUP = Annotated[str, typer.Argument(metavar="GROUP", help="The consumer group.")]


@app.callback()
def root() -> None:
    """See who reads from Kafka, and move where a group reads on."""


@app.command("list")
def list_groups(ctx: typer.Context, output: _OUTPUT = Output.table) -> None:
    """List the consumer groups with their state and what their members hold."""
    found = groups.groups(context.broker(ctx))
    rows: list[dict[str, Any]] = [
        {
            "name": group.name,
            "state": group.state,
            "members": group.members,
            "holds": {topic: sorted(parts) for topic, parts in sorted(group.assigned.items())},
        }
        for group in found
    ]
    cells = [(row["name"], row["state"], row["members"], _held(row["holds"])) for row in rows]
    screen.show(rows, output, lambda: screen.table(("GROUP", "STATE", "MEMBERS", "HOLDS"), cells))


@app.command()
def describe(ctx: typer.Context, group: _GROUP, output: _OUTPUT = Output.table) -> None:
    """Describe a group: its members with their partitions, its commits and its lag."""
    there = context.platform(ctx)
    broker = there.broker()
    known = next((one for one in groups.groups(broker) if one.name == group), None)
    if known is None:
        raise client.KafkaError(f"the broker knows no group {group!r}", hint="todoctl groups list")
    rows = lag.observe(broker, there.values, replicas=there.replicas, only_groups=[group])
    found = {
        "name": known.name,
        "state": known.state,
        "members": [
            {
                "client": member.client,
                "host": member.host,
                "holds": {topic: sorted(parts) for topic, parts in sorted(member.assigned.items())},
            }
            for member in known.who
        ],
        "lag": [asdict(row) for row in rows],
    }
    screen.show(found, output, lambda: _table(found))


@app.command("reset")
def reset_group(
    ctx: typer.Context,
    group: _GROUP,
    topic: Annotated[list[str], typer.Option("--topic", metavar="TOPIC", help="On this topic.")],
    to: Annotated[
        str, typer.Option("--to", metavar="WHERE", help="beginning, end, an offset, a time, or how long ago (15m).")
    ],
    partition: Annotated[
        list[int] | None, typer.Option("-p", "--partition", metavar="N", help="Only this partition.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Agree to the plan.")] = False,
    output: _OUTPUT = Output.table,
) -> None:
    """Move where a group reads on. The plan is shown first.

    Refused while members are connected, and when the group has moved since the plan.
    """
    position = _position(to)
    broker = context.broker(ctx)
    moves = reset.plan(broker, group, topic, position, frozenset(partition or ()))
    rows = [asdict(move) | {"again": move.again} for move in moves]
    screen.show(rows, output, lambda: _plan(moves))
    if not moves:
        screen.ok(f"{group} is there already")
        return
    screen.confirm(f"move {group} on {len(moves)} partitions", yes=yes)
    reset.execute(broker, group, moves)
    screen.ok(f"{group} reads on from there")


def _position(text: str) -> Position:
    try:
        return parse_position(text, datetime.now(UTC))
    except ValueError as error:
        raise UsageError(f"--to: {error}") from error


def _plan(moves: Sequence[reset.Move]) -> None:
    cells = [
        (
            move.topic,
            move.partition,
            "never committed" if move.current is None else move.current,
            move.target,
            _effect(move),
        )
        for move in moves
    ]
    screen.table(("TOPIC", "PARTITION", "NOW", "TO", "EFFECT"), cells)


def _effect(move: reset.Move) -> str:
    if move.again is None:
        return f"reads the {move.end - move.target} records from there on"
    if move.again > 0:
        return f"reads {move.again} records again"
    return f"never reads {-move.again} records"


def _table(found: dict[str, Any]) -> None:
    screen.write(f"{found['name']}: {found['state']}, {len(found['members'])} members")
    members = [(member["client"], member["host"], _held(member["holds"])) for member in found["members"]]
    if members:
        screen.table(("MEMBER", "HOST", "HOLDS"), members)
    cells = [
        (
            row["topic"],
            row["partition"],
            row["committed"],
            row["end"],
            "unknown" if row["messages"] is None else row["messages"],
            "unknown" if row["seconds"] is None else f"{row['seconds']:.1f}",
            row["problem"],
        )
        for row in found["lag"]
    ]
    screen.write("")
    screen.table(("TOPIC", "PARTITION", "COMMITTED", "END", "MESSAGES", "SECONDS", "DETAIL"), cells)


def _held(holds: dict[str, list[int]]) -> str:
    return "; ".join(f"{topic} {','.join(map(str, parts))}" for topic, parts in holds.items() if parts)
