"""What really lies on the topics fits audit's shapes of events, so that it is read the quick way."""

from __future__ import annotations

from collections.abc import Iterator

from confluent_kafka import Consumer, TopicPartition

from services.audit.entries import model_entry
from services.audit.plain_events import plain_event
from services.common.delivery import Delivery
from services.common.verdicts import PermanentError
from tests.live.conftest import Platform, until
from tests.live.users import recurring, register
from todoctl.core.dead_letters import Origin


def test_what_our_services_publish_fits_the_shapes(platform: Platform) -> None:
    """With whatever daprd adds to the envelopes; and the log that came of them is whole."""
    with register(platform) as user:
        task = user.create(**recurring(1))
        user.complete(task["id"])
        until(60, lambda: {row["topic"] for row in user.audit()} >= {"task-events", "task-updates"}, "audit has both")
    settings = {"bootstrap.servers": f"127.0.0.1:{platform.port('kafka')}"}
    for topic in ("task-events", "task-updates"):
        own = [value for value in _values(settings, topic) if _user(value, topic) == user.id]
        assert own
        assert [value for value in own if plain_event(value, topic) is None] == []
    assert platform.must("verify", "audit", "-o", "json").json()


def _values(settings: dict[str, str], topic: str) -> Iterator[bytes]:
    reader = Consumer(settings | {"group.id": "shapes", "enable.partition.eof": False})
    try:
        for number in reader.list_topics(topic, 20).topics[topic].partitions:
            first, end = reader.get_watermark_offsets(TopicPartition(topic, number), timeout=20)
            reader.assign([TopicPartition(topic, number, first)])
            while first < end and (message := reader.poll(20)) is not None:
                first = (message.offset() or 0) + 1
                yield message.value() or b""
    finally:
        reader.close()


def _user(value: bytes, topic: str) -> int | None:
    try:
        return model_entry(Delivery(value, Origin(topic=topic, partition=0, offset=0))).user_id
    except PermanentError:
        return None
