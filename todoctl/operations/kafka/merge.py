"""Batches of several partitions merged by time, with bounded memory.

A partition's records keep their order even where their times go backwards: a record counts as not older than any
before it in its partition. A record is given when no partition can still bring an older one: each unfinished
partition has shown a record as late, or says that it has none at present.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, chain, compress
from operator import ne, or_
from typing import Any

from todoctl.adapters.kafka import columns
from todoctl.adapters.kafka.client import Place
from todoctl.adapters.kafka.reader import Reader
from todoctl.operations.kafka.filters import Test

_MOST = 48 * 2**20  # bytes of values kept back in all
_MOST_RECORDS = 200_000  # and how many records
_DENSE = 4  # records of one place and one millisecond, from which on it is quicker to move them together

Run = tuple[list[int], list[Any]]  # messages in the order of their times


@dataclass
class _Held:
    """Messages of one place that wait, with their times, which never fall, and their sizes; `size` is all in bytes."""

    times: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    messages: list[Any] = field(default_factory=list)
    size: int = 0
    latest: int = -(2**63)


class Merger:
    """Takes batches of a reader as they arrive and gives them in the order of time."""

    def __init__(self, reader: Reader, places: set[Place]) -> None:
        self._reader = reader
        self._held: dict[Place, _Held] = {place: _Held() for place in places}
        self._has_topics = len({topic for topic, _ in places}) > 1
        self._paused: set[Place] = set()
        self._are_own = True  # the times that records are ordered by are those that they have

    def add(self, places: set[Place]) -> None:
        """Merge these places, too, which the reader got."""
        self._held |= {place: _Held() for place in places}

    @property
    def positions(self) -> dict[Place, int]:
        """Place → the offset of its first record that was not given yet."""
        return {
            place: held.messages[0].offset() if held.messages else self._reader.positions[place]
            for place, held in self._held.items()
        }

    def batches(self, tests: Sequence[Test] = ()) -> Iterator[list[Any]]:
        """What passes the tests of the reader's batches, in the order of time; empty ones show that time passes."""
        for batch in self._reader.batches():
            self._take(batch, tests)
            yield self._ready()
            self._mind_memory()
        yield self._merge(lambda held: len(held.times))

    def _take(self, batch: list[Any], tests: Sequence[Test]) -> None:
        first = 0
        for end in self._borders(batch):
            messages = batch[first:end]
            first = end
            held = self._held[_place(messages[0])]
            times = list(columns.times(messages))
            if times[0] < held.latest or times != sorted(times):
                times = list(accumulate(times, max, initial=held.latest))[1:]
                self._are_own = False
            held.latest = times[-1]
            if tests:
                kept = [all(test(message) for test in tests) for message in messages]
                times, messages = list(compress(times, kept)), list(compress(messages, kept))
            sizes = list(map(len, messages))
            held.times += times
            held.sizes += sizes
            held.messages += messages
            held.size += sum(sizes)

    def _borders(self, batch: list[Any]) -> list[int]:
        """Where the place changes within the batch, and where the batch ends."""
        if not batch:
            return []
        partitions = list(columns.partitions(batch))
        if not self._has_topics and partitions.count(partitions[0]) == len(batch):
            return [len(batch)]
        changes: Iterator[bool] = map(ne, partitions, partitions[1:])
        if self._has_topics:
            topics = list(columns.topics(batch))
            changes = map(or_, changes, map(ne, topics, topics[1:]))
        return [*compress(range(1, len(batch)), changes), len(batch)]

    def _ready(self) -> list[Any]:
        """What is not younger than the latest record that every unfinished partition has shown."""
        waiting = self._reader.unfinished - self._reader.at_end
        bound = min((self._held[place].latest for place in waiting), default=2**63)
        return self._merge(lambda held: bisect_right(held.times, bound))

    def _merge(self, count: Callable[[_Held], int]) -> list[Any]:
        runs: list[Run] = []
        for held in self._held.values():
            taken = count(held) if held.times else 0
            if taken:
                runs.append((held.times[:taken], held.messages[:taken]))
                held.size -= sum(held.sizes[:taken])
                del held.times[:taken], held.sizes[:taken], held.messages[:taken]
        times, messages = one_run(runs)
        return columns.Timed(messages, times) if self._are_own else messages

    def _mind_memory(self) -> None:
        """Partitions that are far ahead in time wait; one that has nothing left here is read on."""
        # Its next record may be the oldest of all, so it is read on whatever the others hold.
        if drained := {place for place in self._paused if not self._held[place].times}:
            self._reader.resume(drained)
            self._paused -= drained
        total = sum(held.size for held in self._held.values())
        records = sum(len(held.times) for held in self._held.values())
        if total > _MOST or records > _MOST_RECORDS:
            ahead = {place for place, held in self._held.items() if held.times} & self._reader.unfinished
            if fresh := ahead - self._paused:
                self._reader.pause(fresh)
                self._paused |= fresh


def one_run(runs: Sequence[Run]) -> Run:
    """One run of several, of which each is in order; what has the same time keeps the order of the runs."""
    if len(runs) == 1:
        return runs[0]
    times = list(chain.from_iterable(run[0] for run in runs))
    moments = sorted(set(times))
    if len(moments) * len(runs) * _DENSE > len(times):
        messages = list(chain.from_iterable(run[1] for run in runs))
        order = sorted(range(len(times)), key=times.__getitem__)
        return sorted(times), list(map(messages.__getitem__, order))
    # Of a busy topic many records have the same millisecond: they are taken together.
    times.sort()
    messages, places = [], [0] * len(runs)
    for moment in moments:
        for number, (known, found) in enumerate(runs):
            end = bisect_right(known, moment, places[number])
            messages += found[places[number] : end]
            places[number] = end
    return times, messages


def in_order(messages: list[Any]) -> list[Any]:
    """All messages in the order of time, each partition's in its own."""
    latest: dict[Place, int] = {}
    keyed = []
    for message in messages:
        place = _place(message)
        latest[place] = max(latest.get(place, -(2**63)), message.timestamp()[1])
        keyed.append(latest[place])
    return [messages[at] for at in sorted(range(len(keyed)), key=keyed.__getitem__)]


def _place(message: Any) -> Place:
    return message.topic(), message.partition()
