"""Records as plain values: from offset to offset, by time, and one appended."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from todoctl.adapters.kafka import columns
from todoctl.adapters.kafka.client import (
    SECONDS,
    Broker,
    KafkaError,
    Place,
    administrator,
    api,
    failure,
    offsets,
    partitions,
    translated,
)
from todoctl.adapters.kafka.reach import is_silence
from todoctl.adapters.kafka.reader import Reader, reached

Headers = tuple[tuple[str, bytes | None], ...]


@dataclass(frozen=True, slots=True)
class Record:
    """What lies at one offset; a value of None is a tombstone, a timestamp of -1 none."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers


def scan(
    broker: Broker,
    starts: Mapping[Place, int],
    stops: Mapping[Place, int | None],
    *,
    read_committed: bool = True,
    patience: float = 10.0,
) -> Iterator[list[Record]]:
    """Batches of records from each place's start up to its stop, exclusive; a stop of None follows the partition.

    A place is (topic, partition). Records of one partition come in order; partitions are interleaved as they arrive.
    An empty batch means that nothing came for a moment: a caller who follows looks at its clock then. Ends when every
    place is at its stop, also where the last offsets hold no record (markers of transactions, compaction).
    Close the generator, or let it end, to close the connection.

    Raises:
        KafkaError: a topic is gone, or a leader did not answer within about `patience` seconds; it is named.
    """
    if all(reached(start, stops.get(place)) for place, start in starts.items()):
        # A connection would cost far more than what it is for.
        return
    with Reader(broker, starts, stops, read_committed=read_committed, patience=patience) as reader:
        for batch in reader.batches():
            yield [to_record(message) for message in batch]


def to_record(message: Any) -> Record:
    """Librdkafka's message as a value."""
    return Record(
        message.topic(),
        message.partition(),
        message.offset(),
        message.timestamp()[1],
        message.key(),
        message.value(),
        tuple(columns.headers_of(message)),
    )


def watermarks(broker: Broker, topics: Sequence[str], *, read_committed: bool = True) -> dict[Place, tuple[int, int]]:
    """(topic, partition) → (its oldest offset, the offset behind its last record) for every partition of the topics.

    With `read_committed` the end is before the first record of a transaction that is still open.

    Raises:
        KafkaError: there is no such topic, or a partition's leader does not answer; it is named.
    """
    admin = administrator(broker)
    return marks(broker, admin, partitions(broker, admin, topics), read_committed=read_committed)


def marks(
    broker: Broker, admin: Any, places: Sequence[Place], *, read_committed: bool = True
) -> dict[Place, tuple[int, int]]:
    """`watermarks` of places that are known, by an administrator's client that is open.

    Raises:
        KafkaError: a partition's leader does not answer; it is named.
    """
    specs = api().OffsetSpec
    starts = offsets(broker, admin, dict.fromkeys(places, specs.earliest()))
    ends = offsets(broker, admin, dict.fromkeys(places, specs.latest()), read_committed=read_committed)
    return {place: (starts[place], ends[place]) for place in places}


def offsets_at(broker: Broker, topics: Sequence[str], timestamp_ms: int) -> dict[Place, int]:
    """(topic, partition) → the first offset whose record is not older than the time; the end where there is none.

    Raises:
        KafkaError: as for `watermarks`.
    """
    admin = administrator(broker)
    places = partitions(broker, admin, topics)
    found = offsets(broker, admin, dict.fromkeys(places, api().OffsetSpec.for_timestamp(timestamp_ms)))
    none = [place for place in places if found[place] < 0]
    ends = offsets(broker, admin, dict.fromkeys(none, api().OffsetSpec.latest())) if none else {}
    return {place: ends.get(place, found[place]) for place in places}


def first_times(
    broker: Broker, starts: Mapping[Place, int], stops: Mapping[Place, int], *, read_committed: bool = False
) -> dict[Place, int]:
    """(topic, partition) → the timestamp in ms of the first record from its start on; none where there is no record.

    A place without one has only markers of transactions, or gaps, before its stop.
    """
    found: dict[Place, int] = {}
    with Reader(broker, starts, stops, read_committed=read_committed, ahead_kib=1024) as reader:
        for batch in reader.batches():
            for message in batch:
                found.setdefault((message.topic(), message.partition()), message.timestamp()[1])
            if found.keys() >= reader.unfinished:
                break
    return found


def end_offsets(broker: Broker, topic: str) -> dict[int, int]:
    """Partition → the offset that the next record gets."""
    admin = administrator(broker)
    places = partitions(broker, admin, [topic])
    found = offsets(broker, admin, dict.fromkeys(places, api().OffsetSpec.latest()))
    return {partition: offset for (_, partition), offset in found.items()}


def produce(
    broker: Broker, topic: str, *, key: bytes | None, value: bytes, headers: Mapping[str, bytes]
) -> tuple[int, int]:
    """Append one record and wait until the broker has it; gives its partition and offset."""
    from confluent_kafka import Producer

    delivered: list[Any] = []
    with translated(f"produce to {topic}", broker):
        producer = Producer({**broker.settings, "message.timeout.ms": "5000", "partitioner": "fnv1a_random"})
        producer.produce(
            topic,
            key=key,
            value=value,
            headers=list(headers.items()),
            on_delivery=lambda *report: delivered.append(report),
        )
        producer.flush(SECONDS + 1)
    if not delivered or delivered[0][0] is not None:
        error = delivered[0][0] if delivered else None
        message = f"Kafka: could not produce to {topic}: {error.str() if error else 'no answer'}"
        is_silent = error is None or is_silence(error)
        raise failure(broker, message) if is_silent else KafkaError(message, hint="todoctl status")
    return delivered[0][1].partition(), delivered[0][1].offset()


def read_from(
    broker: Broker, topic: str, offsets: Mapping[int, int], *, deadline: float
) -> Iterator[tuple[bytes | None, bytes | None, int]]:
    """Records from each partition's offset on, as (key, value, timestamp in ms), until the monotonic `deadline`."""
    from confluent_kafka import Consumer, TopicPartition

    with translated(f"read {topic}", broker):
        consumer = Consumer({**broker.settings, "group.id": "todoctl", "enable.auto.commit": "false"})
        try:
            consumer.assign([TopicPartition(topic, number, offset) for number, offset in offsets.items()])
            while (left := deadline - time.monotonic()) > 0:
                message = consumer.poll(min(left, 0.5))
                if message is not None and not message.error():
                    yield message.key(), message.value(), message.timestamp()[1]
        finally:
            consumer.close()
