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
        RefusedError: since the plan a member has connected, somebody else has committed, or a topic was made anew.
        TodoctlError: the broker took them and does not show them.
    """
    _refuse_busy(broker, group)
    _refuse_outdated(broker, group, moves)
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


def _refuse_outdated(broker: Broker, group: str, moves: Sequence[Move]) -> None:
    """What was agreed to is said in records to read again or never, which holds from where the group stood only."""
    places = [(move.topic, move.partition) for move in moves]
    now = groups.committed(broker, group, places)
    marks = records.watermarks(broker, sorted({move.topic for move in moves}), read_committed=False)
    changed = []
    for move in moves:
        place = (move.topic, move.partition)
        start, end = marks.get(place, (0, -1))
        if now[place] != move.current:
            changed.append(
                f"{move.topic}/{move.partition}: {_stands(move.current)} in the plan, {_stands(now[place])} now"
            )
        elif not start <= move.target <= end:
            has = f"has the offsets {start} to {end}" if end >= 0 else "is gone"
            changed.append(f"{move.topic}/{move.partition}: was to {move.target}, and {has} now")
    if changed:
        raise RefusedError(
            f"the plan for {group} no longer fits; nothing was changed",
            detail=tuple(changed),
            hint=f"look at a new plan: todoctl groups reset {group} …",
        )


def _stands(offset: int | None) -> str:
    return "never committed" if offset is None else f"at {offset}"


def _held(member: groups.Member) -> str:
    held = [
        f"{topic} {', '.join(map(str, sorted(parts)))}" for topic, parts in sorted(member.assigned.items()) if parts
    ]
    return "; ".join(held) or "holds nothing"
