"""Reading topics as a person asks for it: from where to where, which records, in which order, and how to go on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from todoctl.adapters.kafka import client, records, topics
from todoctl.adapters.kafka.census import Census
from todoctl.adapters.kafka.client import Broker, KafkaError, Place
from todoctl.adapters.kafka.reader import Reader
from todoctl.core.positions import BEGINNING, END, Position, Resume
from todoctl.errors import UsageError
from todoctl.operations.kafka.filters import Filter, Test, passing
from todoctl.operations.kafka.merge import Merger, in_order


@dataclass(frozen=True)
class Request:
    """What to read. `last` counts records that pass the filter from the end; a `stop` of None follows.

    `by_time` merges partitions by time; without it they come as they arrive, each in its own order.
    """

    topics: tuple[str, ...]
    start: Position = BEGINNING
    stop: Position | None = END
    partitions: frozenset[int] = frozenset()
    last: int | None = None
    limit: int | None = None
    only: Filter = field(default_factory=Filter)
    by_time: bool = True
    resume: Resume | None = None


class Reading:
    """A reading that is planned: its starts and stops are known, nothing is read yet.

    `lost` says how many offsets of a place retention removed before they were read.
    """

    def __init__(self, broker: Broker, request: Request) -> None:
        """Ask the broker where the reading starts and stops.

        Raises:
            KafkaError: a topic is not there, or a leader does not answer.
            UsageError: a partition or a token does not fit the topics.
        """
        self._broker = broker
        self._request = request
        self._tests: tuple[Test, ...] = request.only.tests()
        admin = client.administrator(broker)
        self._cluster, places = client.survey(broker, admin, request.topics)
        self._ids: Mapping[str, str] = {}
        with suppress(KafkaError):
            # A broker that is away may be the one that was asked; the reading itself tells what it keeps back.
            self._ids = topics.ids(broker, request.topics)
        self._marks = records.marks(broker, admin, _wanted(places, request.partitions))
        self._places = frozenset(places)
        self._stops = self._resolve_stops()
        self._starts = self._resolve_starts()
        self._next: dict[Place, int] = dict(self._starts)
        self.lost: Mapping[Place, int] = {}

    def batches(self) -> Iterator[list[Any]]:
        """Batches of librdkafka's messages; empty ones show that time passes."""
        left = self._request.limit
        for batch in self._all():
            if left is not None and len(batch) >= left:
                self._give_back(batch[left:])
                yield batch[:left]
                return
            left = None if left is None else left - len(batch)
            yield batch

    def resume(self) -> Resume:
        """Where to go on after the batch that was given last."""
        return Resume(self._cluster, self._next, self._ids)

    def _all(self) -> Iterator[list[Any]]:
        if self._request.last is not None:
            yield self._last(self._request.last)
            if self._request.stop is not None:
                return
        with Reader(self._broker, self._next, self._stops) as reader:
            self.lost = reader.lost
            census = Census(self._broker, self._request.topics) if self._request.stop is None else None
            # One partition alone has nothing to be merged with, as long as none is added.
            if self._request.by_time and (len(self._next) > 1 or census):
                merger = Merger(reader, set(self._next))
                for batch in merger.batches(self._tests):
                    self._next = merger.positions
                    yield batch
                    if census and (added := self._added(census)):
                        reader.add(added)
                        merger.add(set(added))
                return
            for batch in reader.batches():
                self._next = dict(reader.positions)
                yield passing(batch, self._tests)
                if census and (added := self._added(census)):
                    reader.add(added)

    def _added(self, census: Census) -> dict[Place, int]:
        """Where to begin with partitions that the topics got meanwhile.

        Raises:
            KafkaError: a topic is another one of the same name, whose offsets mean other records.
        """
        news = census.news()
        for topic, (topic_id, _) in news.items():
            self._refuse_another(topic, self._ids.get(topic), topic_id)
        if self._request.partitions:
            return {}
        places = [(topic, number) for topic, (_, count) in news.items() for number in range(count)]
        return {place: 0 for place in places if place not in self._next}

    def _refuse_another(self, topic: str, known: str | None, found: str | None) -> None:
        if known is not None and found is not None and known != found:
            raise KafkaError(
                f"Kafka: {topic} was made anew: it has other records at the same offsets",
                hint=f"todoctl topics tail {topic} --from beginning",
            )

    def _last(self, count: int) -> list[Any]:
        """The newest `count` records that pass, found by looking further and further back."""
        ends = {place: self._marks[place][1] if stop is None else stop for place, stop in self._stops.items()}
        lows, found, width = dict(ends), dict[Place, list[Any]]((place, []) for place in ends), max(count, 100)
        while open_places := [p for p in ends if len(found[p]) < count and lows[p] > self._starts[p]]:
            window = {place: max(self._starts[place], lows[place] - width) for place in open_places}
            for place, messages in self._window(window, {place: lows[place] for place in open_places}).items():
                found[place] = (messages + found[place])[-count:]
            lows |= window
            width *= 8
        self._next = ends
        return in_order([message for messages in found.values() for message in messages])[-count:] if count else []

    def _window(self, starts: Mapping[Place, int], stops: Mapping[Place, int]) -> dict[Place, list[Any]]:
        found: dict[Place, list[Any]] = {place: [] for place in starts}
        with Reader(self._broker, starts, stops) as reader:
            for batch in reader.batches():
                for message in passing(batch, self._tests):
                    found[message.topic(), message.partition()].append(message)
        return found

    def _give_back(self, messages: Sequence[Any]) -> None:
        """What a limit cut off is what a resumed reading begins with."""
        for message in reversed(messages):
            self._next[message.topic(), message.partition()] = message.offset()

    def _resolve_stops(self) -> dict[Place, int | None]:
        stop = self._request.stop
        if stop is None:
            return dict.fromkeys(self._marks, None)
        found = self._resolve(stop)
        return {place: min(offset, self._marks[place][1]) for place, offset in found.items()}

    def _resolve_starts(self) -> dict[Place, int]:
        if self._request.resume is not None:
            return self._resumed(self._request.resume)
        found = self._resolve(self._request.start)
        return {
            place: min(max(offset, self._marks[place][0]), self._marks[place][1]) for place, offset in found.items()
        }

    def _resolve(self, position: Position) -> dict[Place, int]:
        if position.kind == "time":
            at = records.offsets_at(self._broker, self._request.topics, position.value)
            return {place: at[place] for place in self._marks}
        if position.kind == "offset":
            return dict.fromkeys(self._marks, position.value)
        return {place: start if position.kind == "beginning" else end for place, (start, end) in self._marks.items()}

    def _resumed(self, token: Resume) -> dict[Place, int]:
        if token.cluster != self._cluster:
            raise UsageError(f"--resume: the token is of the cluster {token.cluster}, this is {self._cluster}")
        for topic, topic_id in token.ids.items():
            self._refuse_another(topic, topic_id, self._ids.get(topic))
        if gone := sorted(set(token.offsets) - self._places):
            raise KafkaError(
                f"Kafka: {gone[0][0]}/{gone[0][1]} of the token is not there: the topic was made anew",
                hint=f"todoctl topics describe {gone[0][0]}",
            )
        starts = {}
        for place, (start, _) in self._marks.items():
            # A partition that the token does not know was added since.
            starts[place] = max(start, token.offsets.get(place, 0))
            end = (
                records.end_offsets(self._broker, place[0])[place[1]] if starts[place] > self._marks[place][1] else None
            )
            if end is not None and starts[place] > end:
                raise KafkaError(
                    f"Kafka: {place[0]}/{place[1]} ends at offset {end}, before {starts[place]} of the token: the topic "
                    "was made anew",
                    hint=f"todoctl topics describe {place[0]}",
                )
        return starts


def _wanted(places: Sequence[Place], partitions: frozenset[int]) -> list[Place]:
    if missing := partitions - {partition for _, partition in places}:
        raise UsageError(f"--partition: there is no partition {', '.join(map(str, sorted(missing)))}")
    return [place for place in places if not partitions or place[1] in partitions]
