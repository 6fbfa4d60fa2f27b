"""The gateway: a broker that advertises a name which nobody here can resolve is used through it, as if it were near."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.live.broker import KafkaServer, kafka_server
from tests.live.conftest import until
from todoctl.adapters.kafka import client, groups, records, topics
from todoctl.adapters.kafka.client import Broker
from todoctl.adapters.kafka.gateway import Gateway
from todoctl.adapters.kafka.reader import Reader
from todoctl.adapters.kafka.transactions import Transactions
from todoctl.adapters.kube.access import Access
from todoctl.adapters.kube.streams import Dialled, Streams

NAME = ("todo-dual-0.todo-kafka-brokers.kafka.svc", 9092)


@pytest.fixture(scope="module")
def hidden() -> Iterator[KafkaServer]:
    """A broker that sends its clients on to a name of a cluster's own."""
    # A broker checks transactions with their coordinator, which is itself: that way has to lead somewhere.
    with socket.create_server(("127.0.0.1", 0)) as free:
        inside = f"INSIDE://127.0.0.1:{free.getsockname()[1]}"
    settings = {
        "listeners": "HIDDEN://127.0.0.1:{port}," + inside + ",CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"HIDDEN://{NAME[0]}:{NAME[1]},{inside}",
        "listener.security.protocol.map": "HIDDEN:PLAINTEXT,INSIDE:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "INSIDE",
    }
    with kafka_server(settings) as server:
        yield server


@pytest.fixture(scope="module")
def through(hidden: KafkaServer) -> Iterator[Broker]:
    """The broker as the gateway offers it."""

    async def dial(host: str, port: int) -> Dialled:
        # What the broker calls itself, and nothing else, is asked for.
        assert (host, port) == NAME
        return await asyncio.open_connection("127.0.0.1", hidden.port)

    with Streams(Access("test", "http://127.0.0.1:1")) as streams:
        gateway = Gateway(streams.listen, dial)
        port = streams.call(gateway.port(*NAME))
        yield Broker({"bootstrap.servers": f"127.0.0.1:{port}"})


def made(broker: Broker) -> str:
    """A new topic with three partitions."""
    name = f"through-{uuid4().hex[:8]}"
    topics.create(broker, [topics.TopicSpec(name, 3, 1, {"retention.ms": "-1"})])
    return name


def test_without_the_gateway_nothing_can_be_read(hidden: KafkaServer) -> None:
    """The first answer names brokers that are not there."""
    with pytest.raises(client.KafkaError):
        records.watermarks(hidden.client, ["__consumer_offsets"])


def test_administration_records_groups_and_transactions_pass(through: Broker) -> None:
    """Everything that todoctl asks of Kafka: topics, offsets, groups, a record, a transaction, a reader."""
    assert client.cluster_id(through)
    topic = made(through)
    assert topics.specs(through, [topic])[topic].partitions == 3
    partition, offset = records.produce(through, topic, key=b"k", value=b"one" * 50_000, headers={})
    marks = records.watermarks(through, [topic])
    assert sum(end for _, end in marks.values()) == 1
    place = (topic, partition)
    groups.commit(through, f"group-{topic}", {place: offset + 1})
    assert groups.committed(through, f"group-{topic}", [place]) == {place: offset + 1}
    assert groups.group(through, f"group-{topic}").members == 0
    with Reader(through, {place: 0}, {place: 1}) as reader:
        [value] = [message.value() for batch in reader.batches() for message in batch]
    assert value == b"one" * 50_000


def test_a_transaction_passes(through: Broker) -> None:
    """Its coordinator is found by the gateway's address, too, and what it wrote is there when it has ended."""
    topic = made(through)
    with Transactions(through, f"todoctl-{uuid4().hex[:8]}") as transactions:
        transactions.begin()
        transactions.send(topic, b"v", b"k", 0)
        transactions.commit()
    # A commit is answered before its markers are written.
    until(
        15, lambda: records.watermarks(through, [topic])[topic, 0][1] >= 1, "the record for readers of committed ones"
    )


def test_a_broker_that_can_not_be_dialled_is_a_broker_that_is_away(hidden: KafkaServer) -> None:
    """The client is told by a connection that ends, and says so in its own time."""

    async def dial(host: str, port: int) -> Dialled:
        raise ConnectionRefusedError(host, port)

    with Streams(Access("test", "http://127.0.0.1:1")) as streams:
        port = streams.call(Gateway(streams.listen, dial).port(*NAME))
        with pytest.raises(client.KafkaError):
            client.cluster_id(Broker({"bootstrap.servers": f"127.0.0.1:{port}"}))
