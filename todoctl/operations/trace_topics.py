"""What a trace reads of Kafka: never a whole topic, but from a moment on, in the partition of a key, up to a bound."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta

from todoctl.adapters.kafka import groups, records
from todoctl.adapters.kafka.client import Broker, Place
from todoctl.adapters.kafka.reader import Reader
from todoctl.adapters.kafka.records import Record
from todoctl.core import trace as values_of
from todoctl.core import trace_found
from todoctl.core.dapr import group_of, replica_name
from todoctl.core.events import DEAD_LETTERS
from todoctl.core.topics import partition_of
from todoctl.core.trace import GroupPlace, Letter, Seen
from todoctl.core.values import Values
from todoctl.errors import TodoctlError
from todoctl.operations.dlq.desk import open_desk, read_ledger

# Clocks of services and brokers may differ by this much before a record is looked for too late.
_SLACK = timedelta(seconds=5)

Span = tuple[int, int]


class Topics:
    """One broker as a trace sees it; counts what it reads, and keeps in `blind` why something could not be looked at.

    `deaf` has the same for groups, of which only some matter to a subject.
    """

    def __init__(
        self,
        values: Values,
        broker: Callable[[], Broker],
        limit: int,
        since: datetime,
        replicas: Callable[[str], Sequence[str] | None],
    ) -> None:
        self._values, self._open, self._limit, self._since, self._replicas = values, broker, limit, since, replicas
        self.records_read = 0
        self.blind: dict[str, str] = {}
        self.deaf: dict[str, str] = {}

    def find(self, wanted: Sequence[Seen]) -> list[Seen]:
        """The wanted events with their places, as far as they are on their topics; the others say where was looked.

        Each is looked for from just before it happened on, in the partition of its user's key.
        """
        if not wanted:
            return []
        try:
            marks = records.watermarks(self._open(), [*{seen.topic for seen in wanted}])
            places = {seen.identity: _place(seen, marks) for seen in wanted}
            spans = self._from_moments(wanted, places, marks)
            found = {seen.identity: seen for seen in self._read(spans, wanted)}
        except TodoctlError as error:
            self.blind["kafka"] = error.message
            return [replace(seen, is_searched=False, searched=error.message) for seen in wanted]
        return [found.get(seen.identity) or _in_vain(seen, places[seen.identity], spans, marks) for seen in wanted]

    def find_word(self, word: str) -> list[Seen | Letter]:
        """What any topic has by this id, among the newest records since the moment that was given."""
        topics = [name for name, topic in self._values.topics.items() if not topic.compacted]
        try:
            marks = records.watermarks(self._open(), topics)
            at = records.offsets_at(self._open(), topics, _milliseconds(self._since))
            spans = {place: (max(at[place], end - self._limit, start), end) for place, (start, end) in marks.items()}
            return [
                found
                for record in self._scan(spans)
                # Only such a record is worth parsing; the word may also be a part of another one's id, or of a title.
                if word.encode() in (record.value or b"")
                for found in _about(record)
                if word in found.ids
            ]
        except TodoctlError as error:
            self.blind["kafka"] = error.message
            return []

    def find_letters(self, events: Iterable[Seen]) -> list[Letter]:
        """Letters about the events that audit has not stored yet: those behind the place up to which it has."""
        ids = {seen.event_id for seen in events if seen.event_id}
        auditors = [
            app for app, s in self._values.services.items() if any(i.topic == DEAD_LETTERS for i in s.subscribes)
        ]
        if not ids or not auditors:
            return []
        try:
            rows = groups.lag(self._open(), auditors[0], {DEAD_LETTERS: self._values.topics[DEAD_LETTERS].partitions})
            spans = {
                (row.topic, row.partition): (max(row.committed or row.start, row.start, row.end - self._limit), row.end)
                for row in rows
            }
            found = [item for record in self._scan(spans) for item in _about(record)]
        except TodoctlError as error:
            self.blind["kafka"] = error.message
            return []
        return [item for item in found if isinstance(item, Letter) and item.event_id in ids]

    def decided(self, letters: Iterable[Letter]) -> dict[str, Letter]:
        """The letters by their ids, each with what was decided about it."""
        known = {letter.letter_id: letter for letter in letters}
        if not known:
            return known
        try:
            desk = open_desk(self._open(), self._values, DEAD_LETTERS)
            places = {
                (letter.place.partition, letter.place.offset): letter for letter in known.values() if letter.place
            }
            ledger = read_ledger(desk, watched=frozenset(places))
        except TodoctlError as error:
            self.blind["decisions"] = error.message
            return known
        for place, decision in ledger.found.items():
            letter = places[place]
            words = f"{decision.action} by {decision.by} at {decision.at}"
            known[letter.letter_id] = replace(letter, decision=words, is_settled=decision.action == "replayed")
        return known

    def groups(self, topics: set[str]) -> dict[tuple[str, str, int], GroupPlace]:
        """(service, topic, partition) → where the group that reads one of the topics is; of several the last one."""
        asked: list[tuple[str, str, list[str]]] = []
        for app, service in self._values.services.items():
            wanted: dict[str, list[str]] = {}
            for item in service.subscribes:
                # Each replica of some has a group of its own; they are nobody's where none runs.
                names = (self._replicas(app) if item.every_replica else None) or [replica_name(app)]
                for name in names if item.topic in topics else ():
                    wanted.setdefault(group_of(app, item, name), []).append(item.topic)
            asked += [(app, name, names) for name, names in wanted.items()]
        found: dict[tuple[str, str, int], GroupPlace] = {}
        # Side by side: a broker that is away takes its time for each of them.
        with ThreadPoolExecutor(max_workers=len(asked) or 1) as pool:
            for places in pool.map(lambda row: self._group(*row), asked):
                for key, place in places.items():
                    found[key] = max(found.get(key, place), place, key=_behind)
        return found

    def _group(self, app: str, name: str, topics: list[str]) -> dict[tuple[str, str, int], GroupPlace]:
        try:
            broker = self._open()
            state = groups.group(broker, name)
            rows = groups.lag(broker, name, {topic: self._values.topics[topic].partitions for topic in topics})
        except TodoctlError as error:
            self.deaf[f"group {name}"] = error.message
            return {}
        return {
            (app, row.topic, row.partition): GroupPlace(
                name, state.state, state.members, row.committed, row.start, row.end
            )
            for row in rows
        }

    def _from_moments(
        self, wanted: Sequence[Seen], places: Mapping[tuple[object, ...], Place], marks: Mapping[Place, Span]
    ) -> dict[Place, Span]:
        spans: dict[Place, Span] = {}
        for topic in {seen.topic for seen in wanted}:
            since = min(seen.occurred_at for seen in wanted if seen.topic == topic) - _SLACK
            at = records.offsets_at(self._open(), [topic], _milliseconds(since))
            for place in {place for place in places.values() if place[0] == topic}:
                spans[place] = (at[place], max(at[place], min(marks[place][1], at[place] + self._limit)))
        return spans

    def _read(self, spans: Mapping[Place, Span], wanted: Sequence[Seen]) -> Iterator[Seen]:
        """The wanted ones among the records, until there is none left to find."""
        missing = {seen.identity for seen in wanted}
        keys = {str(seen.user_id).encode() for seen in wanted}
        for record in self._scan(spans):
            # Only a record with one of the keys is worth parsing.
            for found in _about(record) if record.key in keys else ():
                if isinstance(found, Seen) and found.identity in missing:
                    missing.discard(found.identity)
                    yield found
            if not missing:
                return

    def _scan(self, spans: Mapping[Place, Span]) -> Iterator[Record]:
        starts = {place: start for place, (start, stop) in spans.items() if start < stop}
        if not starts:
            return
        stops = {place: spans[place][1] for place in starts}
        with Reader(self._open(), starts, stops) as reader:
            for batch in reader.batches():
                self.records_read += len(batch)
                yield from map(records.to_record, batch)


def _behind(place: GroupPlace) -> tuple[bool, int]:
    """How far back a group is; one that never committed began at the newest record."""
    return place.committed is not None, place.lag


def _place(seen: Seen, marks: Mapping[Place, Span]) -> Place:
    """Where the producer behind Dapr puts the event, by the partitions that the topic has now."""
    return seen.topic, partition_of(str(seen.user_id), sum(1 for topic, _ in marks if topic == seen.topic))


def _in_vain(seen: Seen, place: Place, spans: Mapping[Place, Span], marks: Mapping[Place, Span]) -> Seen:
    start, stop = spans[place]
    rest = marks[place][1] - stop
    more = f", {rest} more are left: --records {rest + stop - start}" if rest > 0 else ""
    words = f"{stop - start} records of {place[0]}/{place[1]} looked at from offset {start} on{more}"
    return replace(seen, searched=words, is_searched=rest <= 0)


def _about(record: Record) -> list[Seen | Letter]:
    place = values_of.Place(record.topic, record.partition, record.offset)
    found = trace_found.in_record(place, record.value, record.timestamp_ms)
    return [found] if found else []


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
