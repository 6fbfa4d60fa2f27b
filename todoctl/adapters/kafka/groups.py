"""Consumer groups: their members, and how far their commits are behind."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from todoctl.adapters.kafka.client import SECONDS, Broker, administrator, api, offsets, translated


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


def group(broker: Broker, name: str) -> Group:
    """A consumer group as the broker sees it; one that it does not know is Dead with no members.

    By the older call that describes groups of the classic protocol: the newer one, like every call of librdkafka's
    that goes to a group's coordinator, aborts the process when the connection drops at the wrong moment
    (https://github.com/confluentinc/librdkafka/pull/5397).
    """
    with translated(f"describe the group {name}"):
        admin = administrator(broker)
        found = admin.list_groups(name, timeout=SECONDS)
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

    wanted = [TopicPartition(topic, number) for topic, count in partitions.items() for number in range(count)]
    with translated(f"read the offsets of {name}"):
        admin = administrator(broker)
        # Asked as a member that never joins: the administrator's call has the fault named at `group`.
        consumer = Consumer({**broker.settings, "group.id": name, "enable.auto.commit": "false", "log_level": "0"})
        try:
            committed = consumer.committed(wanted, timeout=SECONDS)
        finally:
            consumer.close()
        places = [(item.topic, item.partition) for item in wanted]
        starts = offsets(broker, admin, dict.fromkeys(places, api().OffsetSpec.earliest()))
        ends = offsets(broker, admin, dict.fromkeys(places, api().OffsetSpec.latest()))
    rows = []
    for item in committed:
        start, end = starts[item.topic, item.partition], ends[item.topic, item.partition]
        offset = item.offset if item.offset >= 0 else None
        # A group that never committed has read nothing of what is there.
        rows.append(
            Lag(item.topic, item.partition, offset, start, end, None if offset is None else max(0, end - offset))
        )
    return rows
