"""Kafka: topics, groups, lag, and a record there and back; the only importer of confluent_kafka."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from todoctl.errors import TodoctlError

_SECONDS = 5.0


class KafkaError(TodoctlError):
    """The broker refused or could not be reached."""


@dataclass(frozen=True)
class Broker:
    """How to reach the cluster: librdkafka's settings."""

    settings: Mapping[str, str]


@dataclass(frozen=True)
class TopicSpec:
    """A topic as it is or should be; `config` holds the settings that the chart states."""

    name: str
    partitions: int
    replication: int
    config: Mapping[str, str]


@dataclass(frozen=True)
class Group:
    """A consumer group: its state, and topic → partitions that its members hold."""

    name: str
    state: str
    members: int
    assigned: Mapping[str, frozenset[int]]


@dataclass(frozen=True)
class Lag:
    """How far a group is behind on one partition, in messages; None where it never committed."""

    topic: str
    partition: int
    committed: int | None
    start: int
    end: int
    messages: int | None


def cluster_id(broker: Broker) -> str:
    """The cluster's id, which proves that the broker answers for metadata."""
    with _translated("ask for the cluster"):
        admin = _admin(broker)
        return str(admin.describe_cluster(request_timeout=_SECONDS).result(_SECONDS).cluster_id)


def topics(broker: Broker, names: Sequence[str]) -> dict[str, TopicSpec]:
    """The topics among `names` that exist, with the settings that differ from the broker's defaults."""
    api = _api()

    with _translated("list topics"):
        admin = _admin(broker)
        known = admin.list_topics(timeout=_SECONDS).topics
        present = [name for name in names if name in known]
        if not present:
            return {}
        resources = [api.ConfigResource(api.ResourceType.TOPIC, name) for name in present]
        configs = {
            resource.name: {key: entry.value for key, entry in future.result(_SECONDS).items()}
            for resource, future in admin.describe_configs(resources, request_timeout=_SECONDS).items()
        }
    return {
        name: TopicSpec(name, len(known[name].partitions), len(known[name].partitions[0].replicas), configs[name])
        for name in present
    }


def create_topics(broker: Broker, specs: Sequence[TopicSpec]) -> None:
    """Create the topics; one that is there already stays as it is."""
    from confluent_kafka import KafkaError as Code
    from confluent_kafka import KafkaException

    api = _api()

    wanted = [api.NewTopic(s.name, s.partitions, s.replication, config=dict(s.config)) for s in specs]
    with _translated("create topics"):
        admin = _admin(broker)
        for future in admin.create_topics(wanted, request_timeout=_SECONDS).values():
            try:
                future.result(_SECONDS)
            except KafkaException as error:
                if error.args[0].code() != Code.TOPIC_ALREADY_EXISTS:
                    raise


def set_topic_config(broker: Broker, name: str, config: Mapping[str, str]) -> None:
    """Set single settings of a topic and leave its others alone."""
    api = _api()

    entries = [
        api.ConfigEntry(key, value, incremental_operation=api.AlterConfigOpType.SET) for key, value in config.items()
    ]
    resource = api.ConfigResource(api.ResourceType.TOPIC, name, incremental_configs=entries)
    with _translated(f"set the configuration of {name}"):
        admin = _admin(broker)
        for future in admin.incremental_alter_configs([resource], request_timeout=_SECONDS).values():
            future.result(_SECONDS)


def group(broker: Broker, name: str) -> Group:
    """A consumer group as the broker sees it; one that it does not know is Dead with no members.

    By the older call that describes groups of the classic protocol: the newer one, like every call of librdkafka's
    that goes to a group's coordinator, aborts the process when the connection drops at the wrong moment
    (https://github.com/confluentinc/librdkafka/pull/5397).
    """
    with _translated(f"describe the group {name}"):
        admin = _admin(broker)
        found = admin.list_groups(name, timeout=_SECONDS)
    if not found:
        return Group(name, "Dead", 0, {})
    assigned: dict[str, set[int]] = {}
    for member in found[0].members:
        for topic, partitions in parse_assignment(member.assignment).items():
            assigned.setdefault(topic, set()).update(partitions)
    held = {topic: frozenset(partitions) for topic, partitions in assigned.items()}
    return Group(name, found[0].state, len(found[0].members), held)


def parse_assignment(data: bytes) -> dict[str, frozenset[int]]:
    """Topic → partitions out of a member's assignment; empty where it is not one.

    Source: ConsumerProtocolAssignment.json of Apache Kafka: version, topics with their partitions, user data.
    """
    try:
        (count,) = struct.unpack_from(">i", data, 2)
        at, held = 6, {}
        for _ in range(count):
            (length,) = struct.unpack_from(">h", data, at)
            topic = data[at + 2 : at + 2 + length].decode()
            (partitions,) = struct.unpack_from(">i", data, at + 2 + length)
            if length < 0 or partitions < 0:
                return {}
            at += 6 + length
            held[topic] = frozenset(struct.unpack_from(f">{partitions}i", data, at))
            at += 4 * partitions
    except (struct.error, UnicodeDecodeError):
        return {}
    return held


def lag(broker: Broker, name: str, partitions: Mapping[str, int]) -> list[Lag]:
    """The group's distance to the end of each partition; `partitions` gives how many each topic has."""
    from confluent_kafka import Consumer, TopicPartition

    api = _api()
    wanted = [TopicPartition(topic, number) for topic, count in partitions.items() for number in range(count)]
    with _translated(f"read the offsets of {name}"):
        admin = _admin(broker)
        # Asked as a member that never joins: the administrator's call has the fault named at `group`.
        consumer = Consumer({**broker.settings, "group.id": name, "enable.auto.commit": "false", "log_level": "0"})
        try:
            committed = consumer.committed(wanted, timeout=_SECONDS)
        finally:
            consumer.close()
        starts = _offsets(admin, wanted, api.OffsetSpec.earliest())
        ends = _offsets(admin, wanted, api.OffsetSpec.latest())
    rows = []
    for item in committed:
        start, end = starts[item.topic, item.partition], ends[item.topic, item.partition]
        offset = item.offset if item.offset >= 0 else None
        # A group that never committed has read nothing of what is there.
        rows.append(
            Lag(item.topic, item.partition, offset, start, end, None if offset is None else max(0, end - offset))
        )
    return rows


def produce(
    broker: Broker, topic: str, *, key: bytes | None, value: bytes, headers: Mapping[str, bytes]
) -> tuple[int, int]:
    """Append one record and wait until the broker has it; gives its partition and offset."""
    from confluent_kafka import Producer

    delivered: list[Any] = []
    with _translated(f"produce to {topic}"):
        producer = Producer({**broker.settings, "message.timeout.ms": "5000", "partitioner": "fnv1a_random"})
        producer.produce(
            topic,
            key=key,
            value=value,
            headers=list(headers.items()),
            on_delivery=lambda *report: delivered.append(report),
        )
        producer.flush(_SECONDS + 1)
    if not delivered or delivered[0][0] is not None:
        reason = delivered[0][0] if delivered else "no answer"
        raise KafkaError(f"Kafka: could not produce to {topic}: {reason}", hint="todoctl status")
    return delivered[0][1].partition(), delivered[0][1].offset()


def read_from(
    broker: Broker, topic: str, offsets: Mapping[int, int], *, deadline: float
) -> Iterator[tuple[bytes | None, bytes | None, int]]:
    """Records from each partition's offset on, as (key, value, timestamp in ms), until the monotonic `deadline`."""
    from confluent_kafka import Consumer, TopicPartition

    with _translated(f"read {topic}"):
        consumer = Consumer({**broker.settings, "group.id": "todoctl", "enable.auto.commit": "false"})
        try:
            consumer.assign([TopicPartition(topic, number, offset) for number, offset in offsets.items()])
            while (left := deadline - time.monotonic()) > 0:
                message = consumer.poll(min(left, 0.5))
                if message is not None and not message.error():
                    yield message.key(), message.value(), message.timestamp()[1]
        finally:
            consumer.close()


def scan(
    broker: Broker, topic: str, starts: Mapping[int, int], look: Callable[[bytes], None], *, seconds: float, most: int
) -> bool:
    """Show `look` every value from each partition's offset to its end; whether all was seen in that time and number."""
    from confluent_kafka import Consumer, KafkaException, TopicPartition
    from confluent_kafka import KafkaError as Code

    deadline, open_partitions, seen = time.monotonic() + seconds, set(starts), 0
    # What retention has taken since is skipped, not everything.
    own = {"group.id": "todoctl", "enable.auto.commit": "false", "auto.offset.reset": "earliest"}
    with _translated(f"read {topic}"):
        consumer = Consumer({**broker.settings, **own, "enable.partition.eof": "true"})
        try:
            consumer.assign([TopicPartition(topic, number, offset) for number, offset in starts.items()])
            while open_partitions and seen < most and time.monotonic() < deadline:
                for message in consumer.consume(500, 0.5):
                    error, value = message.error(), message.value()
                    if error and error.code() != Code._PARTITION_EOF:  # noqa: SLF001 - it has no other name
                        raise KafkaException(error)
                    if error:
                        open_partitions.discard(message.partition())
                    elif value is not None:
                        look(value)
                        seen += 1
        finally:
            consumer.close()
    return not open_partitions


def end_offsets(broker: Broker, topic: str) -> dict[int, int]:
    """Partition → the offset that the next record gets."""
    from confluent_kafka import TopicPartition

    api = _api()

    with _translated(f"read the end of {topic}"):
        admin = _admin(broker)
        partitions = admin.list_topics(topic, timeout=_SECONDS).topics[topic].partitions
        found = _offsets(admin, [TopicPartition(topic, number) for number in partitions], api.OffsetSpec.latest())
        return {partition: offset for (_, partition), offset in found.items()}


def _offsets(admin: Any, partitions: Sequence[Any], which: Any) -> dict[tuple[str, int], int]:
    asked = admin.list_offsets(dict.fromkeys(partitions, which), request_timeout=_SECONDS)
    return {(item.topic, item.partition): future.result(_SECONDS).offset for item, future in asked.items()}


def _api() -> Any:
    # Its stubs leave out what its documentation names.
    return import_module("confluent_kafka.admin")


def _admin(broker: Broker) -> Any:
    """A client that the caller must hold on to: dropped, it takes its pending answers with it."""
    # Nobody listens: librdkafka's own complaints about a broker that is away would go to stderr.
    return _api().AdminClient({**broker.settings, "log_level": "0", "socket.connection.setup.timeout.ms": "2000"})


@contextmanager
def _translated(what: str) -> Iterator[None]:
    from concurrent.futures import TimeoutError as FutureTimeoutError

    from confluent_kafka import KafkaException

    try:
        yield
    except KafkaException as error:
        reason = error.args[0].str() if error.args and hasattr(error.args[0], "str") else str(error)
        raise KafkaError(f"Kafka: could not {what}: {reason}", hint="todoctl status") from error
    except (FutureTimeoutError, TimeoutError) as error:
        raise KafkaError(f"Kafka: could not {what}: no answer in {_SECONDS:.0f} s", hint="todoctl status") from error
