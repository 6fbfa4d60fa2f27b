"""Reading on a real broker: every reading ends where it should, whatever lies or does not lie at its end."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

import pytest
from confluent_kafka import Producer

from tests.live.broker import KafkaServer
from tests.program import until
from todoctl.adapters.kafka import records
from todoctl.adapters.kafka.client import KafkaError, Place, administrator
from todoctl.adapters.kafka.records import Record


def fill(server: KafkaServer, topic: str, values: Iterable[bytes | None], **settings: Any) -> None:
    """Records in the order of `values`, spread over the partitions by their number."""
    producer = Producer({**server.librdkafka, **settings})
    count = len(producer.list_topics(topic, timeout=5).topics[topic].partitions)
    for number, value in enumerate(values):
        producer.produce(topic, value=value, key=str(number).encode(), partition=number % count)
        producer.poll(0)
    assert producer.flush(30) == 0


def transaction(server: KafkaServer, topic: str, values: list[bytes], *, commit: bool) -> None:
    """The values in one transaction, committed or aborted."""
    producer = Producer({**server.librdkafka, "transactional.id": f"test-{topic}"})
    producer.init_transactions(60)
    producer.begin_transaction()
    for value in values:
        producer.produce(topic, value=value, partition=0)
    producer.flush(10)
    if commit:
        producer.commit_transaction(30)
    else:
        producer.abort_transaction(30)
    wait_for_marker(server, topic)


def wait_for_marker(server: KafkaServer, topic: str) -> None:
    """Return when the end of the last transaction lies on the topic: the broker answers before that."""
    until(lambda: _ends(server, topic, True) == _ends(server, topic, False), "the transaction's end on its topic", 30)


def _ends(server: KafkaServer, topic: str, read_committed: bool) -> dict[Place, tuple[int, int]]:
    return records.watermarks(server.client, [topic], read_committed=read_committed)


def everything(server: KafkaServer, topic: str, *, read_committed: bool = True) -> list[Record]:
    """All records of the topic, from its beginning to where it ended when this was called."""
    marks = records.watermarks(server.client, [topic], read_committed=read_committed)
    starts = {place: start for place, (start, _) in marks.items()}
    stops = {place: end for place, (_, end) in marks.items()}
    batches = records.scan(server.client, starts, stops, read_committed=read_committed, patience=3)
    return [record for batch in batches for record in batch]


def test_a_record_is_read_as_it_was_made(kafka: KafkaServer) -> None:
    """Topic, partition, offset, time, key, value and headers, in order, a header without a value too."""
    topic = kafka.topic()
    producer = Producer(kafka.librdkafka)
    producer.produce(
        topic, key=b"\x00k", value=b"\xff\x1b[31m", timestamp=1_700_000_000_123, headers=[("a", b"1"), ("a", None)]
    )
    producer.flush(10)
    assert everything(kafka, topic) == [
        Record(topic, 0, 0, 1_700_000_000_123, b"\x00k", b"\xff\x1b[31m", (("a", b"1"), ("a", None)))
    ]


def test_partitions_are_read_up_to_their_stops(kafka: KafkaServer) -> None:
    """Each partition from its start to its stop, exclusive, and nothing of what lies behind it."""
    topic = kafka.topic(count=3)
    fill(kafka, topic, [b"%d" % number for number in range(9_000)])
    starts = {(topic, 0): 0, (topic, 1): 1_000, (topic, 2): 2_999}
    stops = {(topic, 0): 10, (topic, 1): 2_500, (topic, 2): 2_999}
    found = [(r.partition, r.offset) for batch in records.scan(kafka.client, starts, stops) for r in batch]
    assert [offset for partition, offset in found if partition == 0] == list(range(10))
    assert [offset for partition, offset in found if partition == 1] == list(range(1_000, 2_500))
    assert len(found) == 1_510


def test_an_empty_topic_ends_at_once(kafka: KafkaServer) -> None:
    """Nothing to read is read in no time."""
    began = time.monotonic()
    assert everything(kafka, kafka.topic(count=4)) == []
    assert time.monotonic() - began < 5


def test_a_transaction_marker_at_the_end_is_passed(kafka: KafkaServer) -> None:
    """The last offset belongs to a marker, which no reader ever gets."""
    topic = kafka.topic()
    transaction(kafka, topic, [b"1", b"2"], commit=True)
    assert [record.value for record in everything(kafka, topic)] == [b"1", b"2"]


def test_an_aborted_transaction_is_not_read(kafka: KafkaServer) -> None:
    """Only a reader of uncommitted records gets them; both end."""
    topic = kafka.topic()
    fill(kafka, topic, [b"before"])
    transaction(kafka, topic, [b"aborted"] * 50, commit=False)
    assert [record.value for record in everything(kafka, topic)] == [b"before"]
    assert len(everything(kafka, topic, read_committed=False)) == 51


def test_an_open_transaction_is_the_end(kafka: KafkaServer) -> None:
    """What may still be aborted, and what lies behind it, is not there yet."""
    topic = kafka.topic()
    producer = Producer({**kafka.librdkafka, "transactional.id": f"open-{topic}"})
    producer.init_transactions(10)
    fill(kafka, topic, [b"before"])
    producer.begin_transaction()
    producer.produce(topic, value=b"open", partition=0)
    producer.flush(10)
    fill(kafka, topic, [b"behind"])
    assert [record.value for record in everything(kafka, topic)] == [b"before"]
    producer.abort_transaction(10)
    wait_for_marker(kafka, topic)
    assert [record.value for record in everything(kafka, topic)] == [b"before", b"behind"]


def test_compacted_offsets_are_passed(kafka: KafkaServer) -> None:
    """Where compaction took all but the last value of each key, the reading has gaps and an end."""
    config = {"cleanup_policy": "compact", "segment_ms": "100", "min_cleanable_dirty_ratio": "0.01"}
    topic = kafka.topic(**config, max_compaction_lag_ms="100")
    producer = Producer(kafka.librdkafka)

    def compacted() -> bool:
        producer.produce(topic, key=b"same", value=b"x")
        producer.flush(10)
        return len(everything(kafka, topic)) < records.end_offsets(kafka.client, topic)[0]

    until(compacted, "compaction", 60)


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_compressed_batches_are_read(kafka: KafkaServer, codec: str) -> None:
    """Every codec of Kafka's gives the same bytes."""
    topic = kafka.topic()
    values = [b"%d" % number * 30 for number in range(3_000)]
    fill(kafka, topic, values, **{"compression.type": codec, "linger.ms": 50})
    assert [record.value for record in everything(kafka, topic)] == values


def test_huge_records_and_tombstones_are_read(kafka: KafkaServer) -> None:
    """Ten megabytes at once, nothing at all, and an empty value are three different things."""
    topic = kafka.topic(max_message_bytes=str(11 * 2**20))
    values = [b"a" * (10 * 2**20), None, b"", b"b" * (10 * 2**20)]
    fill(kafka, topic, values, **{"message.max.bytes": 11 * 2**20})
    assert [record.value for record in everything(kafka, topic)] == values


def test_following_gives_what_comes(kafka: KafkaServer) -> None:
    """A partition without a stop goes on; a moment without records is an empty batch."""
    topic = kafka.topic()
    followed = records.scan(kafka.client, {(topic, 0): 0}, {(topic, 0): None})
    assert next(followed) == []
    fill(kafka, topic, [b"new"])
    batch = until(lambda: next(followed), "the new record")
    assert [record.value for record in batch] == [b"new"]
    followed.close()


def test_a_topic_that_is_deleted_while_it_is_read_ends_the_reading(kafka: KafkaServer) -> None:
    """The error says that the topic is gone."""
    topic = kafka.topic()
    fill(kafka, topic, [b"1"])
    followed = records.scan(kafka.client, {(topic, 0): 0}, {(topic, 0): None}, patience=2)
    until(lambda: next(followed), "the first record")
    admin = administrator(kafka.client)
    admin.delete_topics([topic])[topic].result(10)
    with pytest.raises(KafkaError, match=f"{topic}/0 is gone"):
        until(lambda: next(followed) and None, "the end", 30)


def test_no_such_topic(kafka: KafkaServer) -> None:
    """Asked for a topic that is not there, the error names it."""
    with pytest.raises(KafkaError, match="there is no topic 'nowhere'"):
        records.watermarks(kafka.client, ["nowhere"])


def test_offsets_by_time(kafka: KafkaServer) -> None:
    """The first record that is not older than the time; the end where every record is older."""
    topic = kafka.topic()
    producer = Producer(kafka.librdkafka)
    for number in range(10):
        producer.produce(topic, value=b"x", timestamp=1_700_000_000_000 + number * 1000)
    producer.flush(10)
    found = {at: records.offsets_at(kafka.client, [topic], 1_700_000_000_000 + at)[topic, 0] for at in (0, 1, 5000)}
    assert found == {0: 0, 1: 1, 5000: 5}
    assert records.offsets_at(kafka.client, [topic], 1_800_000_000_000) == {(topic, 0): 10}


def test_what_retention_removed_is_skipped(kafka: KafkaServer) -> None:
    """A start that is gone by now becomes the oldest record that is there."""
    topic = kafka.topic()
    fill(kafka, topic, [b"%d" % number for number in range(10)])
    from confluent_kafka import TopicPartition

    admin = administrator(kafka.client)
    for future in admin.delete_records([TopicPartition(topic, 0, 4)]).values():
        future.result(10)
    found = [r.offset for batch in records.scan(kafka.client, {(topic, 0): 0}, {(topic, 0): 10}) for r in batch]
    assert found == [4, 5, 6, 7, 8, 9]


def test_a_silent_broker_is_named(own_kafka: KafkaServer) -> None:
    """A broker that stops answering ends a reading within its patience and is named with its partition."""
    topic = own_kafka.topic()
    fill(own_kafka, topic, [b"1"])
    followed = records.scan(own_kafka.client, {(topic, 0): 0}, {(topic, 0): None}, patience=2)
    until(lambda: next(followed), "the first record")
    own_kafka.pause()
    with pytest.raises(KafkaError):
        until(lambda: next(followed) and None, "the end", 40)
