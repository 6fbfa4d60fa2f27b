"""Partitions merged by time, whatever the order in which their batches arrive."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.operations.kafka.messages import message
from todoctl.adapters.kafka import columns
from todoctl.adapters.kafka.client import Place
from todoctl.adapters.kafka.reader import Reader
from todoctl.operations.kafka.merge import Merger, in_order, one_run


@dataclass
class Arriving:
    """A reader that gives what it is told in that order, and honours a pause."""

    arrivals: list[tuple[Place, list[int]]]
    unfinished: set[Place] = field(default_factory=set)
    at_end: set[Place] = field(default_factory=set)
    positions: dict[Place, int] = field(default_factory=dict)
    paused: set[Place] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.unfinished = {place for place, _ in self.arrivals}
        self.positions = dict.fromkeys(self.unfinished, 0)

    def pause(self, places: set[Place]) -> None:
        self.paused |= places

    def resume(self, places: set[Place]) -> None:
        self.paused -= places

    def batches(self) -> Iterator[list[Any]]:
        waiting = list(self.arrivals)
        while waiting:
            at = next(number for number, (place, _) in enumerate(waiting) if place not in self.paused)
            place, times = waiting.pop(at)
            first = self.positions[place]
            batch = [
                message(b"x", topic=place[0], partition=place[1], offset=first + n, at=time)
                for n, time in enumerate(times)
            ]
            self.positions[place] += len(times)
            if all(other != place for other, _ in waiting):
                self.unfinished.discard(place)
            yield batch


def merged(arriving: Arriving) -> list[list[Any]]:
    """The merger's batches."""
    merger = Merger(cast("Reader", arriving), set(arriving.unfinished))
    return list(merger.batches())


def times(batches: list[list[Any]]) -> list[int]:
    """The times of all messages in their order."""
    return [one.timestamp()[1] for batch in batches for one in batch]


A, B = ("a", 0), ("b", 0)


def test_two_partitions_become_one_sequence() -> None:
    """The order is that of the times, not of the arrival."""
    arriving = Arriving([(A, [1, 4, 7]), (B, [2, 3]), (A, [8]), (B, [5, 9])])
    assert times(merged(arriving)) == [1, 2, 3, 4, 5, 7, 8, 9]


@given(st.lists(st.tuples(st.sampled_from([A, B]), st.lists(st.integers(0, 9), min_size=1, max_size=4)), max_size=6))
def test_the_times_that_come_with_a_batch_are_those_of_its_records(arrivals: list[tuple[Place, list[int]]]) -> None:
    """Also where times go backwards, and in pieces: they are written, not only sorted by."""
    for batch in merged(Arriving(arrivals)):
        assert list(columns.times(batch)) == times([batch])
        pieces = list(columns.parts(batch, 3))
        assert [list(columns.times(piece)) for piece in pieces] == [times([piece]) for piece in pieces]
        assert [one for piece in pieces for one in piece] == list(batch)


def test_nothing_is_held_back_that_cannot_be_overtaken() -> None:
    """As soon as every partition has shown something as late, a record is given."""
    arriving = Arriving([(A, [1, 4]), (B, [2]), (B, [6]), (A, [9])])
    assert [times([batch]) for batch in merged(arriving)] == [[], [1, 2], [4], [6, 9], []]


def test_a_partition_at_its_end_holds_nobody_up() -> None:
    """What is followed is given when the others have nothing at present."""
    arriving = Arriving([(A, [1]), (A, [5]), (B, [])])
    arriving.at_end = {B}
    assert [times([batch]) for batch in merged(arriving)][:2] == [[1], [5]]


@given(
    st.lists(
        st.tuples(st.sampled_from([A, B, ("a", 1)]), st.lists(st.integers(0, 50), min_size=1, max_size=8)), max_size=12
    )
)
def test_no_record_is_lost_and_each_partition_keeps_its_order(arrivals: list[tuple[Place, list[int]]]) -> None:
    """Also where times go backwards; a record is never before one that its own partition's past forbids."""
    found = [one for batch in merged(Arriving(arrivals)) for one in batch]
    offsets: dict[Place, list[int]] = {}
    for one in found:
        offsets.setdefault((one.topic(), one.partition()), []).append(one.offset())
    wanted: Mapping[Place, int] = {
        place: sum(len(given) for other, given in arrivals if other == place) for place, _ in arrivals
    }
    assert offsets == {place: list(range(count)) for place, count in wanted.items()}
    latest: dict[Place, int] = {}
    keys = []
    for one in found:
        place = (one.topic(), one.partition())
        latest[place] = max(latest.get(place, 0), one.timestamp()[1])
        keys.append(latest[place])
    assert keys == sorted(keys)


@given(st.lists(st.tuples(st.sampled_from([A, B, ("a", 1)]), st.integers(0, 9)), min_size=1, max_size=30))
def test_one_batch_may_hold_all_partitions(records: list[tuple[Place, int]]) -> None:
    """However they alternate within it, each record counts for its own partition."""
    offsets = dict.fromkeys([A, B, ("a", 1)], 0)
    batch = []
    for place, time in records:
        batch.append(message(b"x", topic=place[0], partition=place[1], offset=offsets[place], at=time))
        offsets[place] += 1
    merger = Merger(cast("Reader", Whole(batch, offsets)), set(offsets))
    found = [one for part in merger.batches() for one in part]
    assert found == in_order(found)
    assert sorted(map(id, found)) == sorted(map(id, batch))
    for place in offsets:
        of_place = [one.offset() for one in found if (one.topic(), one.partition()) == place]
        assert of_place == list(range(offsets[place]))


@dataclass
class Whole:
    """A reader that gives all there is in one batch."""

    batch: list[Any]
    positions: dict[Place, int]
    at_end: set[Place] = field(default_factory=set)
    unfinished: set[Place] = field(default_factory=set)

    def batches(self) -> Iterator[list[Any]]:
        yield self.batch


def test_what_waits_is_bounded() -> None:
    """A partition that is far ahead is paused until the others have caught up, and then read on."""
    ahead = [(A, list(range(1_000_000 + n * 50_000, 1_000_000 + (n + 1) * 50_000))) for n in range(8)]
    arriving = Arriving([(B, [0]), *ahead, *[(B, [n + 1]) for n in range(3)], (B, [3_000_000])])
    merger = Merger(cast("Reader", arriving), {A, B})
    most = 0
    found: list[int] = []
    for batch in merger.batches():
        found += times([batch])
        most = max(most, sum(len(held.times) for held in merger._held.values()))
    assert found == sorted(found)
    assert len(found) == 400_005
    assert most <= 250_000


def test_a_finished_pile_is_put_in_order() -> None:
    """All at once the order is the same."""
    pile = [message(at=5), message(at=3, offset=1), message(topic="u", at=4), message(topic="u", at=6, offset=1)]
    assert [(one.topic(), one.offset()) for one in in_order(pile)] == [("u", 0), ("t", 0), ("t", 1), ("u", 1)]


@given(
    st.lists(
        st.one_of(
            st.lists(st.integers(0, 3), max_size=60).map(sorted),
            st.lists(st.integers(0, 10**6), max_size=20).map(sorted),
        ),
        max_size=4,
    )
)
def test_runs_are_merged_as_by_a_stable_sort(runs: list[list[int]]) -> None:
    """Whether many records share a millisecond, as on a busy topic, or none do."""
    named = [(times, [(number, at) for at in range(len(times))]) for number, times in enumerate(runs)]
    every = sorted(
        ((time, name) for times, names in named for time, name in zip(times, names, strict=True)),
        key=lambda pair: pair[0],
    )
    times, names = one_run(named)
    assert list(zip(times, names, strict=True)) == every
