"""Malformed records on every subscribed topic: no sidecar dies, nothing blocks, each becomes one dead letter."""

from __future__ import annotations

import base64
import json
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

from confluent_kafka import Consumer, Producer, TopicPartition

from tests.live.conftest import Platform, until

_SEED = 20261123
_CE = {"specversion": "1.0", "id": "x", "source": "/elsewhere", "type": "task.completed"}


def _bad_values(mark: str) -> Iterator[tuple[bytes | None, list[tuple[str, bytes]]]]:
    """Hundreds of values that no consumer of ours can read, each with `mark` inside where it has an inside."""
    text = f'"{mark}"'.encode()
    yield b'{"traceparent": 123, "id": ' + text + b"}", []
    yield json.dumps({**_CE, "traceparent": 123, "traceid": [], "tracestate": {}, "data": mark}).encode(), []
    yield json.dumps({**_CE, "data": {"schema_version": "99.0", "mark": mark}}).encode(), []
    yield json.dumps({**_CE, "data": {"schema_version": "1.0", "mark": mark}}).encode(), []
    yield b"[" * 10_000 + text + b"]" * 10_000, []
    yield b'{"data": NaN, "mark": ' + text + b"}", []
    yield b'{"data": "\\ud800", "mark": ' + text + b"}", []
    yield b"\xff\xfe" + text, []
    yield text, [("traceparent", b"5"), ("traceid", b"\x00\xff"), ("__topic", b"other"), ("content-type", b"x\r\ny: z")]
    yield text, [("%zz", b"%zz"), ("é", "ü\n".encode()), ("dapr-api-token", b"forged")]
    yield None, []
    yield b"", []
    chance = random.Random(_SEED)
    good = json.dumps({**_CE, "data": {"schema_version": "1.0", "mark": mark, "user_id": 1}}).encode()
    for _ in range(200):
        value = bytearray(good)
        for _ in range(chance.randint(1, 12)):
            value[chance.randrange(len(value))] = chance.randrange(256)
        yield bytes(value), []


def test_poison_never_kills_or_blocks(platform: Platform) -> None:
    """After hundreds of malformed records per topic every process lives, the lag is gone, and letters are exact."""
    before = {name: part["pid"] for name, part in platform.parts().items()}
    settings = {"bootstrap.servers": f"127.0.0.1:{platform.port('kafka')}"}
    ends = _ends(settings, "dlq-events")
    mark = f"poison-{uuid4()}"
    sent = {topic: _send(settings, topic, mark) for topic in ("task-events", "reminders", "task-updates", "dlq-events")}
    until(120, lambda: not _lag(platform), "no lag left")
    after = {name: part["pid"] for name, part in platform.parts().items()}
    assert after == before
    assert platform.must("status", "-o", "json").json()["healthy"] is True
    # Each consumer of a topic makes its own letter; audit keeps what lies on dlq-events as it is.
    letters = Counter((letter["consumer"], letter["origin"]["topic"]) for letter in _letters(settings, ends))
    assert letters == {
        ("recurring", "task-events"): sent["task-events"],
        ("audit", "task-events"): sent["task-events"],
        ("audit", "reminders"): sent["reminders"],
        ("audit", "task-updates"): sent["task-updates"],
        ("notification", "reminders"): sent["reminders"],
        ("sync", "task-updates"): sent["task-updates"],
    }


def test_a_dead_letter_says_everything(platform: Platform) -> None:
    """A dead letter has the reason, the attempts, the consumer, the origin and the original bytes."""
    settings = {"bootstrap.servers": f"127.0.0.1:{platform.port('kafka')}"}
    ends = _ends(settings, "dlq-events")
    value = f"not json {uuid4()}".encode()
    producer = Producer(settings)
    places: list[Any] = []
    producer.produce("task-events", key=b"a b/%", value=value, on_delivery=lambda _, message: places.append(message))
    producer.flush(10)
    letters = until(
        60, lambda: [x for x in _letters(settings, ends) if base64.b64decode(x["value"]) == value], "a letter"
    )
    letter = next(letter for letter in letters if letter["consumer"] == "recurring")
    assert letter["kind"] == "permanent"
    assert letter["attempts"] == 1
    assert letter["error_class"]
    assert letter["message"]
    origin = letter["origin"]
    assert (origin["topic"], origin["key"]) == ("task-events", "a b/%")
    assert (origin["partition"], origin["offset"]) == (places[0].partition(), places[0].offset())


def _send(settings: dict[str, str], topic: str, mark: str) -> int:
    producer = Producer(settings)
    count = 0
    for number, (value, headers) in enumerate(_bad_values(mark)):
        key = (None, b"", b"\xff\xfe", b"7", b"a\nb")[number % 5]
        producer.produce(topic, value=value, key=key, headers=headers)
        count += 1
    assert producer.flush(30) == 0
    return count


def _lag(platform: Platform) -> list[Any]:
    rows = platform.run("status", "-o", "json").json()["lag"]
    return [row for row in rows if row["messages"] != 0]


def _ends(settings: dict[str, str], topic: str) -> dict[int, int]:
    consumer = Consumer({**settings, "group.id": "test"})
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        return {
            number: consumer.get_watermark_offsets(TopicPartition(topic, number), timeout=10)[1]
            for number in partitions
        }
    finally:
        consumer.close()


def _letters(settings: dict[str, str], since: dict[int, int]) -> list[dict[str, Any]]:
    """The dead letters of ours that came after `since`."""
    ends = _ends(settings, "dlq-events")
    consumer = Consumer({**settings, "group.id": "test", "enable.auto.commit": "false"})
    found = []
    try:
        consumer.assign([TopicPartition("dlq-events", number, offset) for number, offset in since.items()])
        left = sum(ends[number] - since[number] for number in ends)
        while left > 0:
            messages = consumer.consume(min(left, 500), timeout=5)
            assert messages, f"{left} records of dlq-events did not come"
            left -= len(messages)
            for message in messages:
                try:
                    record = json.loads(message.value() or b"")
                    found += [record["data"]] if record["type"] == "dead-letter" else []
                except (ValueError, KeyError, TypeError, RecursionError):
                    continue
    finally:
        consumer.close()
    return found


def test_doctor_leaves_no_dead_letter(platform: Platform) -> None:
    """The records that `doctor` sends through each subscription are consumed and have no other effect."""
    settings = {"bootstrap.servers": f"127.0.0.1:{platform.port('kafka')}"}
    ends = _ends(settings, "dlq-events")
    platform.must("doctor")
    letters = _letters(settings, ends)
    assert not [letter for letter in letters if b"todoctl.probe" in base64.b64decode(letter["value"])]
