"""`todoctl topics list` and `todoctl topics describe`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

import typer

from todoctl import screen
from todoctl.adapters.kafka import client, groups, records, topics
from todoctl.adapters.kafka.client import Broker, Place
from todoctl.commands import context
from todoctl.core.topics import wanted_topics
from todoctl.operations.kafka import apply
from todoctl.screen import Output

_OUTPUT = Annotated[Output, typer.Option("-o", "--output", help="How to write the result.")]
_DAY = 86_400_000


def list_topics(
    ctx: typer.Context,
    output: _OUTPUT = Output.table,
    everything: Annotated[bool, typer.Option("--all", help="Kafka's own topics, too.")] = False,
) -> None:
    """List topics with what lies in them, and how they agree with the chart."""
    there = context.platform(ctx)
    chart, broker = there.values, there.broker()
    layout = topics.layout(broker)
    names = [name for name in layout if everything or not name.startswith("__")]
    specs = topics.specs(broker, names)
    marks = _marks(ctx, broker, {name: layout[name] for name in names})
    unlike = {change.topic for change in apply.plan(broker, wanted_topics(chart))}
    ours = set(chart.topics)
    rows: list[dict[str, Any]] = [
        {
            "name": name,
            "partitions": specs[name].partitions,
            "replication": specs[name].replication,
            "records": _count(marks, name, layout[name]),
            "retention_ms": int(specs[name].config.get("retention.ms", -1)),
            "chart": ("differs" if name in unlike else "agrees") if name in ours else "foreign",
        }
        for name in names
        if name in specs
    ]
    rows += [_missing(name) for name in sorted(ours - set(names))]
    cells = [
        (r["name"], r["partitions"], r["replication"], r["records"], _retention(r["retention_ms"]), r["chart"])
        for r in rows
    ]
    columns = ("TOPIC", "PARTITIONS", "REPLICAS", "RECORDS", "KEPT", "CHART")
    screen.show(rows, output, lambda: screen.table(columns, cells))


def describe(
    ctx: typer.Context,
    topic: Annotated[str, typer.Argument(metavar="TOPIC", help="The topic.")],
    output: _OUTPUT = Output.table,
) -> None:
    """Describe a topic: partitions with leaders, replicas and offsets, its own settings, and who reads it."""
    broker = context.broker(ctx)
    parts = topics.layout(broker).get(topic)
    if parts is None:
        raise client.KafkaError(f"Kafka: there is no topic {topic!r}", hint="todoctl topics list")
    marks = _marks(ctx, broker, {topic: parts})
    partitions = [
        asdict(part) | dict(zip(("start", "end"), marks.get((topic, part.number), (None, None)), strict=True))
        for part in parts
    ]
    config = topics.config(broker, topic)
    found = {
        "name": topic,
        "partitions": partitions,
        "config": {key: value for key, (value, is_own) in config.items() if is_own},
        "defaults": {key: value for key, (value, is_own) in config.items() if not is_own},
        "groups": _readers(broker, topic),
    }
    screen.show(found, output, lambda: _table(found))


def _marks(
    ctx: typer.Context, broker: Broker, layout: Mapping[str, tuple[topics.Partition, ...]]
) -> dict[Place, tuple[int, int]]:
    """Where partitions begin and end; one without a leader has nobody who knows, and is named on stderr."""
    led: list[Place] = []
    lost: list[Place] = []
    for topic, parts in layout.items():
        for part in parts:
            (led if part.leader >= 0 else lost).append((topic, part.number))
    if lost:
        names = ", ".join(f"{topic}/{number}" for topic, number in lost)
        said = f"no broker leads {names}: nobody can read or write there (todoctl status)"
        screen.warn(context.aimed(ctx, said))
    return records.marks(broker, client.administrator(broker), led) if led else {}


def _count(marks: Mapping[Place, tuple[int, int]], topic: str, parts: tuple[topics.Partition, ...]) -> int | None:
    """The topic's records; None where a partition can't be asked."""
    found = [marks.get((topic, part.number)) for part in parts]
    return None if None in found else sum(pair[1] - pair[0] for pair in found if pair)


def _readers(broker: Broker, topic: str) -> list[dict[str, Any]]:
    return [
        {"name": group.name, "state": group.state, "holds": sorted(group.assigned[topic])}
        for group in groups.groups(broker)
        if topic in group.assigned
    ]


def _table(found: dict[str, Any]) -> None:
    screen.write(f"{found['name']}: {len(found['partitions'])} partitions")
    columns = ("PARTITION", "LEADER", "REPLICAS", "IN SYNC", "START", "END", "RECORDS")
    rows = [
        (
            part["number"],
            part["leader"] if part["leader"] >= 0 else "none",
            _numbers(part["replicas"]),
            _numbers(part["in_sync"]),
            *(("", "", "") if part["end"] is None else (part["start"], part["end"], part["end"] - part["start"])),
        )
        for part in found["partitions"]
    ]
    screen.table(columns, rows)
    if found["config"]:
        screen.write("")
        screen.pairs(found["config"])
    if found["groups"]:
        screen.write("")
        readers = [(group["name"], group["state"], _numbers(group["holds"])) for group in found["groups"]]
        screen.table(("GROUP", "STATE", "HOLDS"), readers)


def _missing(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "partitions": None,
        "replication": None,
        "records": None,
        "retention_ms": None,
        "chart": "missing",
    }


def _retention(milliseconds: int | None) -> str:
    if milliseconds is None:
        return ""
    if milliseconds < 0:
        return "for ever"
    return f"{milliseconds / _DAY:g} d" if milliseconds >= _DAY else f"{milliseconds / 1000:g} s"


def _numbers(values: tuple[int, ...] | list[int]) -> str:
    return ",".join(map(str, values))
