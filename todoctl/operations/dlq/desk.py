"""The desk: one dead-letter topic of one cluster, its letters and every decision about them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from todoctl.adapters.kafka import client, records, topics
from todoctl.adapters.kafka.client import Broker, Place
from todoctl.adapters.kafka.records import Record
from todoctl.core.dlq.decisions import DECISIONS, Ledger, State
from todoctl.core.dlq.filters import Filter, read_name
from todoctl.core.dlq.letters import Letter, read_letter
from todoctl.core.values import Values
from todoctl.errors import MissingError, RefusedError


@dataclass(frozen=True)
class Desk:
    """A dead-letter topic, its cluster, and the ids of all topics of the platform that exist."""

    broker: Broker
    values: Values
    topic: str
    cluster: str
    topic_ids: Mapping[str, str]
    ranges: Mapping[Place, tuple[int, int]]  # of the letters: the oldest offset and the end

    @property
    def topic_id(self) -> str:
        """The dead-letter topic's id, which a topic of the same name that is made anew doesn't have."""
        return self.topic_ids[self.topic]

    @property
    def ends(self) -> dict[int, int]:
        """Partition → where the letters end."""
        return {partition: end for (_, partition), (_, end) in self.ranges.items()}


def open_desk(broker: Broker, values: Values, topic: str) -> Desk:
    """The desk of a dead-letter topic.

    Raises:
        RefusedError: the platform doesn't own the topic.
        MissingError: the topic is not there.
    """
    if topic not in values.topics or values.topics[topic].compacted:
        owned = ", ".join(name for name, entry in values.topics.items() if not entry.compacted)
        raise RefusedError(f"{topic!r} is no topic of this platform, which has: {owned}", hint="todoctl topics list")
    topic_ids = topics.ids(broker, list(values.topics))
    if topic not in topic_ids:
        raise MissingError(f"the topic {topic} is not there", hint="todoctl doctor --fix")
    ranges = records.watermarks(broker, [topic])
    return Desk(broker, values, topic, client.cluster_id(broker), topic_ids, ranges)


def read_ledger(desk: Desk, *, watched: frozenset[tuple[int, int]] = frozenset()) -> Ledger:
    """Every decision up to the end, those of committed transactions only."""
    starts = {partition: start for (_, partition), (start, _) in desk.ranges.items()}
    ledger = Ledger(desk.cluster, desk.topic_id, starts=starts, topic_ids=desk.topic_ids.values(), watched=watched)
    if DECISIONS not in desk.topic_ids:
        return ledger
    ranges = records.watermarks(desk.broker, [DECISIONS])
    begin, stop = ({place: pair[side] for place, pair in ranges.items()} for side in (0, 1))
    for batch in records.scan(desk.broker, begin, stop):
        for record in batch:
            ledger.take(record.key, record.value)
    return ledger


def largest_messages(desk: Desk) -> dict[str, int]:
    """Topic → how large a record it takes: what the cluster says, else what the chart does."""
    names = [name for name in desk.values.topics if name in desk.topic_ids]
    stated = {name: desk.values.max_message_bytes(name) for name in names}
    return stated | topics.largest_messages(desk.broker, names)


def require_decisions(desk: Desk) -> None:
    """Refuse to decide anything where no decision could be kept.

    Raises:
        MissingError: the topic of decisions is not there.
    """
    if DECISIONS not in desk.topic_ids:
        raise MissingError(
            f"the topic {DECISIONS}, which keeps the decisions, is not there", hint="todoctl doctor --fix"
        )


def refuse_made_anew(desk: Desk) -> None:
    """Return while the topics are those that the desk was opened for.

    Raises:
        RefusedError: one was deleted since, or made anew: its offsets mean other records.
    """
    now = topics.ids(desk.broker, list(desk.topic_ids))
    for name, known in desk.topic_ids.items():
        if now.get(name) != known:
            what = "made anew" if name in now else "deleted"
            raise RefusedError(
                f"the topic {name} was {what} since its letters were looked at; nothing of what is there now was touched",
                hint="todoctl dlq list",
            )


def letters(desk: Desk, ledger: Ledger, wanted: Filter) -> Iterator[tuple[Letter, State]]:
    """The letters that the filter means, by partition and offset."""
    for letter, state in every_letter(desk, ledger, wanted):
        if wanted.matches(letter, state):
            yield letter, state


def every_letter(desk: Desk, ledger: Ledger, wanted: Filter) -> Iterator[tuple[Letter, State]]:
    """Every letter that has to be read for a filter, by partition and offset, with what was decided about it."""
    for _, letter, state in every_record(desk, ledger, wanted):
        yield letter, state


def every_record(desk: Desk, ledger: Ledger, wanted: Filter) -> Iterator[tuple[Record, Letter, State]]:
    """The same with the record that the letter is."""
    for start, stop in _ranges(desk, wanted):
        for batch in records.scan(desk.broker, start, stop):
            for record in batch:
                letter = read_letter(record)
                yield record, letter, ledger.state(letter.partition, letter.offset)


def _ranges(desk: Desk, wanted: Filter) -> Iterator[tuple[dict[Place, int], dict[Place, int | None]]]:
    """What to read, one partition after the other; single offsets where only such letters are wanted."""
    places = [read_name(name) for name in wanted.names]
    if places and all(places):
        for partition, offset in sorted({place for place in places if place}):
            place = (desk.topic, partition)
            start, end = desk.ranges.get(place, (0, 0))
            if start <= offset < end:
                yield {place: offset}, {place: offset + 1}
        return
    since = records.offsets_at(desk.broker, [desk.topic], wanted.since_ms) if wanted.since_ms is not None else {}
    for place, (start, end) in sorted(desk.ranges.items()):
        yield {place: max(start, since.get(place, start))}, {place: end}
