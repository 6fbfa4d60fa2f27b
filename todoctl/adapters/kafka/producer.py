"""Appending records to a topic in their order, in batches that the topic takes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from todoctl.adapters.kafka import reach
from todoctl.adapters.kafka.client import Broker, KafkaError, failure, translated
from todoctl.errors import PartialError

LARGEST_RECORD = 100 * 2**20  # bytes; no topic that one could have takes a larger one

_SETTINGS = {
    # As Dapr's client does it, so that a key's records share a partition whoever made them.
    "partitioner": "fnv1a_random",
    "enable.idempotence": "true",
    "message.timeout.ms": "15000",
    "message.max.bytes": str(LARGEST_RECORD),  # the topic decides
    "linger.ms": "5",
    "log_level": "0",
    "socket.connection.setup.timeout.ms": "2000",
}

# Librdkafka's own: smaller than what a topic takes when nothing is said.
LARGEST_BATCH = 1_000_000


@dataclass(frozen=True)
class Draft:
    """A record to be appended; without a partition its key decides."""

    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    partition: int | None = None


@dataclass(frozen=True)
class Appended:
    """Where a record lies now."""

    topic: str
    partition: int
    offset: int
    key: bytes | None


def append(
    broker: Broker, topic: str, drafts: Iterable[Draft], *, batch_bytes: int = LARGEST_BATCH
) -> Iterator[Appended]:
    """Append the records and give each once every replica that must have it has it, in their order.

    The topic's `max.message.bytes` is for a batch of records: `batch_bytes` says what it takes. A record that is larger goes alone.

    Raises:
        KafkaError: the first was refused, or the broker did not answer.
        PartialError: a later one was; those before it are there.
    """
    from confluent_kafka import Producer

    waiting: deque[list[Any]] = deque()
    with translated(f"append to {topic}"):
        batch = {"batch.size": str(min(batch_bytes, LARGEST_BATCH))}
        producer = Producer({**_SETTINGS, **batch, **broker.settings})
    done = 0
    for draft in drafts:
        report: list[Any] = []
        waiting.append(report)
        _produce(producer, topic, draft, report)
        for appended in _ready(broker, waiting, topic, done):
            done += 1
            yield appended
    while waiting:
        producer.poll(0.1)
        for appended in _ready(broker, waiting, topic, done):
            done += 1
            yield appended


def _produce(producer: Any, topic: str, draft: Draft, report: list[Any]) -> None:
    where = {} if draft.partition is None else {"partition": draft.partition}
    with translated(f"append to {topic}"):
        while True:
            try:
                producer.produce(
                    topic,
                    value=draft.value,
                    key=draft.key,
                    headers=list(draft.headers),
                    on_delivery=lambda error, message: report.append((error, message)),
                    **where,
                )
            except BufferError:
                producer.poll(0.1)
            else:
                producer.poll(0)
                return


def _ready(broker: Broker, waiting: deque[list[Any]], topic: str, done: int) -> Iterator[Appended]:
    """The reports that have come, from the oldest on."""
    while waiting and waiting[0]:
        error, message = waiting.popleft()[0]
        if error is not None:
            text = f"Kafka: could not append to {topic}: {error.str()}"
            if done:
                raise PartialError(f"{text}; {done} records were appended before", hint="append the rest anew")
            hint = f"todoctl topics describe {topic}"
            raise failure(broker, text, hint=hint) if reach.is_silence(error) else KafkaError(text, hint=hint)
        done += 1
        yield Appended(message.topic(), message.partition(), message.offset(), message.key())
