"""What a trace reads of a topic with a million records: the neighbourhood of the event, never the topic."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from confluent_kafka import Producer

from tests.live.broker import KafkaServer
from tests.unit.sites import chart_values
from todoctl.adapters.kafka import topics
from todoctl.core.events import TASK_EVENTS
from todoctl.core.topics import partition_of
from todoctl.core.trace import Seen
from todoctl.operations.trace_topics import Topics

VALUES = chart_values()
PARTITIONS = VALUES.topics[TASK_EVENTS].partitions
RECORDS = 1_000_000
SPAN = timedelta(days=5)
USER = 77
LIMIT = 5_000


def value(event_id: str, seq: int, moment: datetime) -> bytes:
    """An event's record as api's relay writes it."""
    data = {
        "event_id": event_id,
        "event_type": "task.created",
        "user_id": USER,
        "task_id": 5,
        "user_seq": seq,
        "occurred_at": moment.isoformat(),
        "correlation_id": f"request-{seq}",
    }
    return json.dumps({"specversion": "1.0", "id": event_id, "type": "task.created", "data": data}).encode()


@pytest.fixture(scope="module")
def events(kafka: KafkaServer) -> dict[str, Seen]:
    """A million records of five days up to now, and among them three of one user: first, middle, last."""
    names = [topics.TopicSpec(name, topic.partitions, 1, {}) for name, topic in VALUES.topics.items()]
    topics.create(kafka.client, names)
    producer = Producer({**kafka.librdkafka, "partitioner": "fnv1a_random", "queue.buffering.max.messages": "1000000"})
    began = datetime.now(UTC) - SPAN
    wanted = {1_000: "first", RECORDS // 2: "middle", RECORDS - 1_000: "last"}
    found = {}
    for number in range(RECORDS):
        moment = began + SPAN * (number / RECORDS)
        stamp = int(moment.timestamp() * 1000)
        if name := wanted.get(number):
            seen = Seen(TASK_EVENTS, "task.created", USER, 5, number, moment, str(uuid4()))
            found[name] = seen
            producer.produce(
                TASK_EVENTS, key=str(USER), value=value(seen.event_id or "", number, moment), timestamp=stamp
            )
        else:
            producer.produce(TASK_EVENTS, key=str(number % 997), value=b"{}", timestamp=stamp)
        if number % 20_000 == 0:
            producer.poll(0.2)
    assert producer.flush(120) == 0
    return found


@pytest.fixture
def look(kafka: KafkaServer) -> Callable[..., Topics]:
    """The topics as a trace looks at them."""
    return lambda since=timedelta(hours=1): Topics(VALUES, lambda: kafka.client, LIMIT, datetime.now(UTC) - since, list)


@pytest.mark.parametrize("name", ["first", "middle", "last"])
def test_an_event_is_found_from_its_moment_and_its_key(
    look: Callable[..., Topics], events: dict[str, Seen], name: str
) -> None:
    """By time and partition: a few hundred records of a million, and well within ten seconds."""
    topics_seen, wanted, began = look(), events[name], time.monotonic()
    [found] = topics_seen.find([Seen(TASK_EVENTS, "task.created", USER, 5, wanted.user_seq, wanted.occurred_at)])
    assert found.event_id == wanted.event_id
    assert found.place is not None
    assert found.place.partition == partition_of(str(USER), PARTITIONS)
    assert topics_seen.records_read <= 1_000
    assert time.monotonic() - began < 10


def test_what_is_not_there_is_looked_for_up_to_the_bound(look: Callable[..., Topics], events: dict[str, Seen]) -> None:
    """No more records than the bound are read, and the answer says that there are more."""
    topics_seen, wanted = look(), events["middle"]
    [missed] = topics_seen.find([Seen(TASK_EVENTS, "task.created", USER, 5, 3, wanted.occurred_at)])
    assert missed.place is None
    assert not missed.is_searched
    assert "more are left: --records" in missed.searched
    assert topics_seen.records_read == LIMIT


def test_at_the_end_of_the_topic_missing_is_missing(look: Callable[..., Topics], events: dict[str, Seen]) -> None:
    """Where everything from the moment on was read, the event is not there."""
    topics_seen = look()
    [missed] = topics_seen.find([Seen(TASK_EVENTS, "task.created", USER, 5, 3, events["last"].occurred_at)])
    assert missed.place is None
    assert missed.is_searched
    assert topics_seen.records_read < 1_000


def test_an_unknown_id_is_looked_for_among_the_newest(look: Callable[..., Topics], events: dict[str, Seen]) -> None:
    """Since the given time, and at most so many records of each partition."""
    topics_seen = look(timedelta(hours=12))
    [found] = topics_seen.find_word(events["last"].event_id or "")
    assert isinstance(found, Seen)
    assert found.user_seq == events["last"].user_seq
    assert topics_seen.records_read <= LIMIT * PARTITIONS
    part = str(events["last"].event_id)[:8]
    assert look(timedelta(hours=12)).find_word(part) == []
    nowhere = look(timedelta(days=9))
    assert nowhere.find_word(str(uuid4())) == []
    assert nowhere.records_read == LIMIT * PARTITIONS
