"""Every group's lag, observed: what it committed, who holds its partitions, and how old its oldest unread record is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from todoctl.adapters.kafka import client, groups, records, topics
from todoctl.adapters.kafka.client import Broker, Place
from todoctl.adapters.kafka.groups import Group
from todoctl.core.dapr import group_of
from todoctl.core.lag import Facts, PartitionLag, judge, unknown
from todoctl.core.values import Values

# App → its replicas, None where they are not known.
Replicas = Callable[[str], Sequence[str] | None]


@dataclass(frozen=True)
class Expected:
    """A group that the chart says must read a topic."""

    group: str
    topic: str
    reads_new_only: bool


def expected_groups(values: Values, *, replicas: Replicas, known: Iterable[str]) -> list[Expected]:
    """What the chart's services subscribe to.

    A service whose replicas each read everything has one group for each; where the replicas are not known, its groups
    are those that begin with the service's name.
    """
    found = []
    for app, service in values.services.items():
        for item in service.subscribes:
            names = [group_of(app, item, name) for name in (replicas(app) or ()) if item.every_replica]
            if not item.every_replica:
                names = [app]
            elif replicas(app) is None:
                names = _own_groups(app, known)
            found += [Expected(name, item.topic, item.every_replica) for name in names]
    return found


def retired_groups(values: Values, *, replicas: Replicas, known: Iterable[str]) -> set[str]:
    """Groups of replicas that are gone: nobody will ever read for them again."""
    expected = {one.group for one in expected_groups(values, replicas=replicas, known=known)}
    apps = [name for name, service in values.services.items() if any(i.every_replica for i in service.subscribes)]
    return {name for app in apps if replicas(app) is not None for name in _own_groups(app, known)} - expected


def _own_groups(app: str, known: Iterable[str]) -> list[str]:
    return [name for name in known if name.startswith(f"{app}-")]


def observe(
    broker: Broker,
    values: Values,
    *,
    replicas: Replicas,
    only_groups: Sequence[str] = (),
    only_topics: Sequence[str] = (),
) -> list[PartitionLag]:
    """The lag of every group on every partition that it reads or should read.

    A group that is asked for and reads nothing, and one that the chart expects and the broker doesn't know, have rows
    without a number.

    Raises:
        KafkaError: there is no such topic, or a broker does not answer.
    """
    layout = {name: parts for name, parts in topics.layout(broker).items() if not name.startswith("__")}
    if missing := [name for name in only_topics if name not in layout]:
        raise client.KafkaError(f"Kafka: there is no topic {missing[0]!r}", hint="todoctl topics list")
    known = {one.name: one for one in groups.groups(broker)}
    expected = expected_groups(values, replicas=replicas, known=known)
    retired = retired_groups(values, replicas=replicas, known=known)
    names = list(only_groups) or sorted({*known, *(one.group for one in expected)} - retired)
    places = [
        (name, part.number) for name, parts in layout.items() for part in parts if name in (only_topics or layout)
    ]
    with ThreadPoolExecutor(8) as pool:
        commits = dict(zip(names, pool.map(lambda name: groups.committed(broker, name, places), names), strict=True))
    marks = records.marks(broker, client.administrator(broker), places, read_committed=False)
    seen = {name: known.get(name, Group(name, "Dead", 0, {})) for name in names}
    facts = [one for name in names for one in _facts(seen[name], commits[name], marks, expected)]
    now = time.time()
    rows = [judge(one, now) for one in _with_times(broker, facts)]
    lost = [one for one in expected if one.topic not in layout and one.group in names and not only_topics]
    rows += [unknown(one.group, one.topic, seen[one.group].state, "there is no such topic") for one in lost]
    silent = set(only_groups) - {row.group for row in rows}
    return rows + [unknown(name, "", seen[name].state, _says(seen[name])) for name in sorted(silent)]


def _says(group: Group) -> str:
    return "the broker knows no such group" if group.state == "Dead" else "it reads none of the topics"


def _facts(
    group: Group,
    commits: Mapping[Place, int | None],
    marks: Mapping[Place, tuple[int, int]],
    expected: Iterable[Expected],
) -> list[Facts]:
    """The group on each partition of the topics that it committed, holds, or should read."""
    wanted = {one.topic: one.reads_new_only for one in expected if one.group == group.name}
    read = {topic for (topic, _), offset in commits.items() if offset is not None}
    found = []
    for place, (start, end) in marks.items():
        topic, partition = place
        if topic not in read | set(wanted) | set(group.assigned):
            continue
        found.append(
            Facts(
                group=group.name,
                state=group.state,
                members=group.members,
                is_held=partition in group.assigned.get(topic, ()),
                topic=topic,
                partition=partition,
                committed=commits[place],
                start=start,
                end=end,
                oldest_ms=None,
                reads_new_only=wanted.get(topic, False),
                has_commits=bool(read),
            )
        )
    return found


def _with_times(broker: Broker, facts: Sequence[Facts]) -> list[Facts]:
    """The facts with the time of the oldest unread record; places where several groups stand are read once."""
    known: dict[tuple[Place, int], int | None] = {}
    wanted = {
        ((one.topic, one.partition), max(one.committed, one.start)): one.end
        for one in facts
        if one.committed is not None and one.end > one.committed
    }
    # A reader reads a partition from one offset, so groups that stand at different ones need another round.
    while rest := [key for key in wanted if key not in known]:
        round_ = dict(rest)
        found = records.first_times(broker, round_, {place: wanted[place, start] for place, start in round_.items()})
        known |= {(place, start): found.get(place) for place, start in round_.items()}
    return [
        one
        if one.committed is None
        else replace(one, oldest_ms=known.get(((one.topic, one.partition), max(one.committed, one.start))))
        for one in facts
    ]
