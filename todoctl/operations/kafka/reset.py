"""Moving a consumer group: from where it reads on, planned first, and only while nobody reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from todoctl.adapters.kafka import client, groups, records
from todoctl.adapters.kafka.client import Broker, Place
from todoctl.core.positions import Position
from todoctl.errors import RefusedError, TodoctlError, UsageError


@dataclass(frozen=True)
class Move:
    """Where a group reads next on one partition, and where it is to; None where it never committed."""

    topic: str
    partition: int
    current: int | None
    target: int
    start: int
    end: int

    @property
    def again(self) -> int | None:
        """Records that it will read again; negative: that it will never read."""
        return None if self.current is None else self.current - self.target


def plan(
    broker: Broker, group: str, topics: Sequence[str], to: Position, partitions: frozenset[int] = frozenset()
) -> list[Move]:
    """What the reset would do, without the partitions that are there already.

    Raises:
        RefusedError: members are connected; they are named.
        UsageError: the group is unknown, or a partition is.
        KafkaError: there is no such topic.
    """
    _refuse_busy(broker, group)
    marks = records.watermarks(broker, topics, read_committed=False)
    if missing := partitions - {partition for _, partition in marks}:
        raise UsageError(f"--partition: there is no partition {', '.join(map(str, sorted(missing)))}")
    chosen = {place: mark for place, mark in marks.items() if not partitions or place[1] in partitions}
    times = records.offsets_at(broker, topics, to.value) if to.kind == "time" else {}
    current = groups.committed(broker, group, list(chosen))
    moves = []
    for place, (start, end) in chosen.items():
        target = {"beginning": start, "end": end, "offset": to.value}.get(to.kind, times.get(place, end))
        moves.append(Move(*place, current[place], min(max(target, start), end), start, end))
    return [move for move in moves if move.current != move.target]


def execute(broker: Broker, group: str, moves: Sequence[Move]) -> None:
    """Commit the targets and see them.

    Raises:
        RefusedError: a member has connected meanwhile.
        TodoctlError: the broker took them and does not show them.
    """
    _refuse_busy(broker, group)
    targets: dict[Place, int] = {(move.topic, move.partition): move.target for move in moves}
    groups.commit(broker, group, targets)
    if groups.committed(broker, group, list(targets)) != targets:
        raise TodoctlError(f"the offsets of {group} are not what was set: somebody else set them, too")


def _refuse_busy(broker: Broker, name: str) -> None:
    group = groups.group(broker, name)
    if group.state == "Dead" and name not in {one.name for one in groups.groups(broker)}:
        raise client.KafkaError(f"the broker knows no group {name!r}", hint="todoctl groups list")
    if group.members:
        raise RefusedError(
            f"{group.members} members of {name} are connected, and would go on from where they are",
            detail=tuple(f"{member}: {_held(member)}" for member in group.who),
            hint=f"stop them, then: todoctl groups reset {name} …",
        )


def _held(member: groups.Member) -> str:
    held = [
        f"{topic} {', '.join(map(str, sorted(parts)))}" for topic, parts in sorted(member.assigned.items()) if parts
    ]
    return "; ".join(held) or "holds nothing"
