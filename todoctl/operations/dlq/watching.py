"""Watching what comes of a replay: where its records lie, which died again, and how far the consumers are."""

from __future__ import annotations

import time
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from todoctl.adapters.kafka import columns, groups, records
from todoctl.adapters.kafka.client import Place
from todoctl.adapters.kafka.reader import Reader
from todoctl.core.dapr import local_group
from todoctl.core.dlq.foreign import Place as Origin
from todoctl.core.dlq.letters import Letter, read_letter
from todoctl.core.dlq.outcomes import NOBODY, Outcomes, Republished, Spot, republished
from todoctl.core.dlq.plan import PlanHeader
from todoctl.core.values import Values
from todoctl.operations.dlq.desk import Desk
from todoctl.operations.dlq.originals import find_originals

Consumers = Mapping[str, Mapping[str, str]]  # topic → consumer → its group


def consumers_of(values: Values, *, is_local: bool) -> dict[str, dict[str, str]]:
    """Topic → consumer → group that reads it; in a cluster without those of which each replica is a group."""
    found: dict[str, dict[str, str]] = {name: {} for name in values.topics}
    for app, service in values.services.items():
        for item in service.subscribes:
            if is_local or not item.every_replica:
                found[item.topic][app] = local_group(app, item)
    return found


@dataclass
class Marks:
    """Where the records of a plan lie, 24 bytes for each: per (topic, partition) offset, letter partition and offset."""

    spots: dict[Place, array[int]] = field(default_factory=dict)

    def add(self, record: Republished) -> None:
        """Take one."""
        topic, partition, offset = record.spot
        self.spots.setdefault((topic, partition), array("q")).extend((offset, *record.letter))

    def __iter__(self) -> Iterator[Republished]:
        for (topic, partition), numbers in self.spots.items():
            for at in range(0, len(numbers), 3):
                yield Republished((numbers[at + 1], numbers[at + 2]), (topic, partition, numbers[at]))

    @property
    def last(self) -> dict[Place, int]:
        """(topic, partition) → the offset of the plan's last record there."""
        return {place: numbers[-3] for place, numbers in self.spots.items()}


def find_marks(desk: Desk, header: PlanHeader) -> Marks:
    """Every record that the plan re-published, for readers of committed records."""
    marks, starts, stops = Marks(), {}, {}
    for place, (start, end) in records.watermarks(desk.broker, list(header.targets)).items():
        starts[place] = max(start, header.targets[place[0]].ends.get(place[1], 0))
        stops[place] = end
    with Reader(desk.broker, starts, stops) as reader:
        for batch in reader.batches():
            for message in batch:
                spot = (message.topic(), message.partition(), message.offset())
                if found := republished(header.id, spot, columns.headers_of(message)):
                    marks.add(found)
    return marks


class Watch:
    """Letters that came after a plan was made; `dead` are the records of the plan that died again, and for whom."""

    def __init__(self, desk: Desk, header: PlanHeader) -> None:
        self.dead: dict[Spot, frozenset[str]] = {}
        self._letters: set[tuple[int, int]] = set()
        self._desk, self._header = desk, header
        self._positions = {(header.topic, partition): end for partition, end in header.ends.items()}

    @property
    def died(self) -> int:
        """How many letters of the plan died again."""
        return len(self._letters)

    def look(self) -> int:
        """Read what came since the last look; gives how many letters of the plan died again by now."""
        ranges = records.watermarks(self._desk.broker, [self._header.topic])
        starts = {place: max(start, self._positions.get(place, start)) for place, (start, _) in ranges.items()}
        stops = {place: end for place, (_, end) in ranges.items()}
        fresh: dict[Spot, set[str]] = {}
        for batch in records.scan(self._desk.broker, starts, dict(stops)):
            for record in batch:
                letter = read_letter(record)
                if spot := self._spot(letter):
                    fresh.setdefault(spot, set()).add(letter.reason.consumer or NOBODY)
        self._positions |= stops
        self._take(fresh)
        return self.died

    def _spot(self, letter: Letter) -> Spot | None:
        """Where the letter's record lay, when that can be one of the plan's."""
        origin = letter.origin
        target = self._header.targets.get(origin.topic) if origin else None
        if origin is None or target is None or origin.partition is None or origin.offset is None:
            return None
        is_newer = origin.offset >= target.ends.get(origin.partition, 0)
        return (origin.topic, origin.partition, origin.offset) if is_newer else None

    def _take(self, fresh: Mapping[Spot, set[str]]) -> None:
        if not fresh:
            return
        ranges = records.watermarks(self._desk.broker, list(self._header.targets))
        for spot, record in find_originals(self._desk.broker, (Origin(*spot) for spot in fresh), ranges).items():
            if found := republished(self._header.id, spot, record.headers):
                self.dead[spot] = self.dead.get(spot, frozenset()) | fresh[spot]
                self._letters.add(found.letter)


def committed(desk: Desk, header: PlanHeader, consumers: Consumers) -> dict[str, dict[Place, int]]:
    """Consumer → (topic, partition) → the offset that it reads next; 0 where it never committed."""
    found: dict[str, dict[Place, int]] = {}
    for topic, target in header.targets.items():
        for consumer, group in consumers.get(topic, {}).items():
            places = [(topic, partition) for partition in range(target.partitions)]
            offsets = groups.committed(desk.broker, group, places)
            found.setdefault(consumer, {}).update({place: offset or 0 for place, offset in offsets.items()})
    return found


def wait_passed(
    desk: Desk, header: PlanHeader, consumers: Consumers, last: Mapping[Place, int], *, seconds: float
) -> Iterator[int]:
    """Yield how many consumers still have records of the plan before them, until none has or the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        seen = committed(desk, header, consumers)
        behind = sum(
            any(offsets[place] <= offset for place, offset in last.items() if place in offsets)
            for offsets in seen.values()
        )
        yield behind
        if not behind or time.monotonic() > deadline:
            return
        time.sleep(min(1.0, max(0.0, deadline - time.monotonic())))


def judge(desk: Desk, header: PlanHeader, consumers: Consumers, watch: Watch) -> Outcomes:
    """An empty verdict on the plan's records, with all that is known now; feed it the marks."""
    # First how far they are, then what died: a consumer writes its letter before it commits.
    offsets = committed(desk, header, consumers)
    watch.look()
    return Outcomes({topic: tuple(found) for topic, found in consumers.items()}, offsets, watch.dead)
