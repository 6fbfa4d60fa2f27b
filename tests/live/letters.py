"""Dead letters of eight kinds on a broker of the test's own, as the platform and other tools write them."""

from __future__ import annotations

import contextlib
import json
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID, uuid5

from confluent_kafka import Producer

from tests.live.broker import KafkaServer
from tests.program import until
from tests.unit.sites import chart_values
from todoctl.adapters.kafka import topics
from todoctl.adapters.kafka.client import KafkaError
from todoctl.core.dead_letters import DeadLetter, Origin, to_cloud_event
from todoctl.core.events import TASK_EVENTS
from todoctl.core.topics import wanted_topics

KINDS = ("permanent", "unknown", "cut off", "dapr", "spring", "connect", "garbage", "tombstone")

# Kinds that say where their record lay.
WITH_ORIGIN = frozenset({"permanent", "unknown", "dapr", "spring", "connect"})

_NAMESPACE = UUID("5d8a3f0e-9d6e-4b8f-8f43-0c1f2f3b7a11")
_AT = datetime(2026, 11, 25, 12, tzinfo=UTC)

Header = tuple[str, bytes | None]


@dataclass(frozen=True)
class Dead:
    """A record that died, and the letter about it: key, value and headers of each."""

    kind: str
    event_id: str
    key: bytes
    value: bytes
    partition: int
    offset: int
    letter_key: bytes | None
    letter_value: bytes | None
    letter_headers: Sequence[Header]


def make_topics(server: KafkaServer) -> None:
    """The platform's topics."""
    wanted = [topics.TopicSpec(t.name, t.partitions, t.replication, t.config) for t in wanted_topics(chart_values())]

    def made() -> bool:
        # A busy machine's broker may take longer than an answer may.
        with contextlib.suppress(KafkaError):
            topics.create(server.client, wanted)
            return True
        return False

    until(made, "the platform's topics", 120)


def event(number: int, *, user_id: int = 0, title: str = "Write") -> tuple[str, bytes]:
    """An event's id and its envelope's bytes."""
    event_id, user = str(uuid5(_NAMESPACE, str(number))), user_id or 1 + number % 97
    task = {
        "id": number + 1,
        "user_id": user,
        "title": title,
        "status": "completed",
        "version": 2,
        "created_at": _AT.isoformat(),
        "updated_at": _AT.isoformat(),
    }
    data = {
        "schema_version": "1.0",
        "event_id": event_id,
        "event_type": "task.completed",
        "user_id": user,
        "task_id": number + 1,
        "user_seq": number + 1,
        "version": 2,
        "occurred_at": _AT.isoformat(),
        "correlation_id": f"c-{number}",
        "payload": {"task": task, "changed": ["status"]},
    }
    envelope = {"specversion": "1.0", "id": event_id, "source": "/todo/api", "type": "task.completed", "data": data}
    return event_id, json.dumps(envelope).encode()


def kill(server: KafkaServer, count: int, *, kinds: Sequence[str] = KINDS, first: int = 0) -> list[Dead]:
    """Publish `count` events to task-events and a letter about each one, the kinds in turn."""
    producer = Producer(server.librdkafka | {"partitioner": "fnv1a_random", "linger.ms": "20"})
    places: dict[int, tuple[int, int]] = {}
    made = [(number, *event(number)) for number in range(first, first + count)]
    for number, _, value in made:
        producer.produce(
            TASK_EVENTS,
            key=_key(number),
            value=value,
            headers=[("partitionKey", _key(number)), ("odd", b"\xff\x00")],
            on_delivery=lambda _, message, number=number: places.setdefault(
                number, (message.partition(), message.offset())
            ),
        )
        producer.poll(0)
    assert producer.flush(60) == 0
    dead = [
        _dead(kinds[number % len(kinds)], number, event_id, value, *places[number]) for number, event_id, value in made
    ]
    for item in dead:
        producer.produce("dlq-events", key=item.letter_key, value=item.letter_value, headers=[*item.letter_headers])
        producer.poll(0)
    assert producer.flush(60) == 0
    return dead


def _key(number: int) -> bytes:
    return str(1 + number % 97).encode()


def _dead(kind: str, number: int, event_id: str, value: bytes, partition: int, offset: int) -> Dead:
    key, content, headers = _letter(kind, number, event_id, value, partition, offset)
    return Dead(kind, event_id, _key(number), value, partition, offset, key, content, headers)


def _letter(
    kind: str, number: int, event_id: str, value: bytes, partition: int, offset: int
) -> tuple[bytes | None, bytes | None, list[Header]]:
    """Key, value and headers of the letter."""
    own: list[Header] = [("partitionKey", _key(number)), ("odd", b"\xff\x00")]
    if kind in {"permanent", "unknown", "cut off"}:
        letter = _ours(kind, number, event_id, value, partition, offset)
        return _key(number), json.dumps(to_cloud_event(letter)).encode(), [("partitionKey", _key(number))]
    if kind == "garbage":
        return b"\x00\xff", bytes([0xFF, number % 256, 0x00]) * 20, [("\x1b[2J", b"\x1b[31mred")]
    if kind == "tombstone":
        return _key(number), None, []
    marks = {"dapr": _dapr, "spring": _spring, "connect": _connect}[kind]
    return _key(number), value, [*own, *marks(number, partition, offset).items()]


def _ours(kind: str, number: int, event_id: str, value: bytes, partition: int, offset: int) -> DeadLetter:
    is_cut = kind == "cut off"
    return DeadLetter(
        letter_id=uuid5(_NAMESPACE, f"letter {number}"),
        consumer="recurring",
        kind="unknown" if kind == "unknown" else "permanent",
        error_class="ZeroDivisionError" if kind == "unknown" else "InvalidEventError",
        message=f"[value cut to 40 of {len(value)} bytes] too long" if is_cut else f"number {number} \x1b[31mfailed",
        attempts=5 if kind == "unknown" else 1,
        # What was cut and lay where nobody knows can't be whole again.
        origin=Origin(
            topic=TASK_EVENTS,
            partition=None if is_cut else partition,
            offset=None if is_cut else offset,
            key=_key(number).decode(),
        ),
        value=b64encode(value[:40] if is_cut else value).decode(),
        event_id=event_id,
        event_type="task.completed",
        user_id=1 + number % 97,
        correlation_id=f"c-{number}",
        failed_at=_AT,
    )


def _dapr(number: int, partition: int, offset: int) -> Mapping[str, bytes]:
    return {
        "__topic": TASK_EVENTS.encode(),
        "__partition": str(partition).encode(),
        "__offset": str(offset).encode(),
        "__key": _key(number),
        "pubsubName": b"pubsub",
    }


def _spring(_: int, partition: int, offset: int) -> Mapping[str, bytes]:
    return {
        "kafka_dlt-original-topic": TASK_EVENTS.encode(),
        "kafka_dlt-original-partition": partition.to_bytes(4, "big"),
        "kafka_dlt-original-offset": offset.to_bytes(8, "big"),
        "kafka_dlt-exception-fqcn": b"org.example.BrokenException",
        "kafka_dlt-exception-message": b"it broke",
        "kafka_dlt-original-consumer-group": b"billing",
    }


def _connect(_: int, partition: int, offset: int) -> Mapping[str, bytes]:
    return {
        "__connect.errors.topic": TASK_EVENTS.encode(),
        "__connect.errors.partition": str(partition).encode(),
        "__connect.errors.offset": str(offset).encode(),
        "__connect.errors.connector.name": b"warehouse",
        "__connect.errors.exception.class.name": b"org.apache.kafka.connect.errors.DataException",
        "__connect.errors.exception.message": b"no such column",
    }


def numbers(dead: Sequence[Dead]) -> Iterator[str]:
    """Event ids of those whose record can be re-published."""
    return (item.event_id for item in dead if item.kind in WITH_ORIGIN)
