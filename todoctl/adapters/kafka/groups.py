"""Consumer groups: their members, and how far their commits are behind."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from todoctl.adapters.kafka.client import SECONDS, Broker, Place, administrator, translated
from todoctl.adapters.kafka.records import marks
from todoctl.errors import RefusedError


@dataclass(frozen=True)
class Member:
    """A connected member of a group, and topic → partitions that it holds."""

    client: str
    host: str
    assigned: Mapping[str, frozenset[int]]

    def __str__(self) -> str:
        """What to call it in a message."""
        return f"{self.client} at {self.host}"


@dataclass(frozen=True)
class Group:
    """A consumer group: its state, and topic → partitions that its members hold."""

    name: str
    state: str
    members: int
    assigned: Mapping[str, frozenset[int]]
    who: tuple[Member, ...] = ()
    protocol: str = ""


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
        return _group(found[0]) if found else Group(name, "Dead", 0, {})


def groups(broker: Broker) -> list[Group]:
    """Every consumer group that the cluster knows."""
    with translated("list groups"):
        admin = administrator(broker)
        return sorted((_group(one) for one in admin.list_groups(timeout=SECONDS)), key=lambda one: one.name)


def _group(found: Any) -> Group:
    from confluent_kafka import KafkaException

    if found.error is not None:
        raise KafkaException(found.error)
    assigned: dict[str, set[int]] = {}
    who = tuple(
        Member(member.client_id, member.client_host.lstrip("/"), parse_assignment(member.assignment))
        for member in found.members
    )
    for member in who:
        for topic, partitions in member.assigned.items():
            assigned.setdefault(topic, set()).update(partitions)
    held = {topic: frozenset(partitions) for topic, partitions in assigned.items()}
    return Group(found.id, found.state, len(who), held, who, found.protocol)


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


def committed(broker: Broker, name: str, places: Sequence[Place]) -> dict[Place, int | None]:
    """(topic, partition) → the offset that the group reads next; None where it never committed."""
    with translated(f"read the offsets of {name}"), _member(broker, name) as member:
        found = member.committed([_at(place) for place in places], timeout=SECONDS)
    return {(item.topic, item.partition): item.offset if item.offset >= 0 else None for item in found}


def commit(broker: Broker, name: str, targets: Mapping[Place, int]) -> None:
    """Set what the group reads next.

    Raises:
        RefusedError: members are connected; the broker itself refuses then.
    """
    from confluent_kafka import KafkaError as Code
    from confluent_kafka import KafkaException

    busy = {Code.UNKNOWN_MEMBER_ID, Code.ILLEGAL_GENERATION, Code.STALE_MEMBER_EPOCH, Code.REBALANCE_IN_PROGRESS}
    with translated(f"set the offsets of {name}"), _member(broker, name) as member:
        try:
            done = member.commit(offsets=[_at(place, offset) for place, offset in targets.items()], asynchronous=False)
            errors = [item.error for item in done if item.error is not None]
        except KafkaException as error:
            errors = [error.args[0]]
        if any(error.code() in busy for error in errors):
            raise RefusedError(
                f"members of {name} are connected: the broker refused to set its offsets",
                hint=f"todoctl groups describe {name}",
            )
        if errors:
            raise KafkaException(errors[0])


def lag(broker: Broker, name: str, partitions: Mapping[str, int]) -> list[Lag]:
    """The group's distance to the end of each partition; `partitions` gives how many each topic has."""
    places = [(topic, number) for topic, count in partitions.items() for number in range(count)]
    found = committed(broker, name, places)
    marks_of = marks(broker, administrator(broker), places, read_committed=False)
    rows = []
    for place, offset in found.items():
        start, end = marks_of[place]
        # A group that never committed has read nothing of what is there.
        rows.append(Lag(*place, offset, start, end, None if offset is None else max(0, end - offset)))
    return rows


@contextmanager
def _member(broker: Broker, name: str) -> Iterator[Any]:
    """A consumer of the group's name that never joins: the administrator's calls have the fault named at `group`."""
    from confluent_kafka import Consumer

    consumer = Consumer({**broker.settings, "group.id": name, "enable.auto.commit": "false", "log_level": "0"})
    try:
        yield consumer
    finally:
        consumer.close()


def _at(place: Place, offset: int = -1001) -> Any:
    from confluent_kafka import TopicPartition

    return TopicPartition(*place, offset)
