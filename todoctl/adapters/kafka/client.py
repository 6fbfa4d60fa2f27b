"""The cluster: how to reach it, a client for its administrator, and what its errors mean here."""

from __future__ import annotations

import atexit
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from threading import Lock
from typing import Any

from todoctl.adapters.kafka import reach
from todoctl.errors import TodoctlError, UnhealthyError

SECONDS = 5.0  # how long an answer may take

Place = tuple[str, int]  # a topic and one of its partitions


class KafkaError(TodoctlError):
    """The broker refused or could not be reached."""


class UnreachableError(KafkaError, UnhealthyError):
    """Nobody answered, or a broker can't be reached where it says that it is."""


@dataclass(frozen=True)
class Broker:
    """How to reach the cluster: librdkafka's settings, which may hold a password and are never shown.

    `name` is what to call it in a message.
    """

    settings: Mapping[str, str] = field(repr=False)
    name: str = ""

    @property
    def addresses(self) -> str:
        """Where it is asked first."""
        return self.settings["bootstrap.servers"]


def cluster_id(broker: Broker) -> str:
    """The cluster's id, which proves that the broker answers for metadata."""
    with translated("ask for the cluster", broker):
        admin = administrator(broker)
        return str(admin.describe_cluster(request_timeout=SECONDS).result(SECONDS + 1).cluster_id)


def api() -> Any:
    """The administrator's part of confluent_kafka."""
    # The package first: of two threads that begin with a part of it, each would wait for what the other imports.
    import_module("confluent_kafka")
    # Its stubs leave out what its documentation names.
    return import_module("confluent_kafka.admin")


_ADMINISTRATOR = {
    # Nobody listens: librdkafka's own complaints about a broker that is away would go to stderr.
    "log_level": "0",
    "socket.connection.setup.timeout.ms": "2000",
    # It is kept while a broker is away and comes back.
    "reconnect.backoff.max.ms": "500",
    # Half of it passes before the connection to the broker that the first one named; its default is 100.
    "reconnect.backoff.ms": "20",
}
_administrators: dict[tuple[tuple[str, str], ...], Any] = {}
_complaints: dict[tuple[tuple[str, str], ...], Any] = {}  # what librdkafka said last of such a broker
_making = Lock()

# Of two threads that look up leaders with one client, librdkafka (2.16) may use memory that it has freed: what wakes the one
# wakes the other in the middle of its call (`rd_kafka_topic_partition_list_query_leaders_async`). So they take turns; but
# behind one that waits for a broker which is away, nobody waits for longer than this.
_looking_up = Lock()
_TURN = 1.0
# While the interpreter still runs: librdkafka's threads may want it when a client goes.
atexit.register(_administrators.clear)


def administrator(broker: Broker) -> Any:
    """The client for this broker's administrator, one per process.

    It is never dropped before the process ends: the last reference to a client whose answer is late may be a
    traceback's, and where the garbage collector finds that in librdkafka's own thread, librdkafka aborts the process.
    """
    key = _key(broker)
    with _making:
        if key not in _administrators:
            settings = {**broker.settings, **_ADMINISTRATOR, "error_cb": lambda error: _complain(key, error)}
            with translated("use the settings for Kafka", hint="todoctl env show"):
                _administrators[key] = api().AdminClient(settings)
        return _administrators[key]


def _key(broker: Broker) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(broker.settings.items()))


def _complain(key: tuple[tuple[str, str], ...], error: Any) -> None:
    from confluent_kafka import KafkaError as Code

    # That all brokers are down comes after what is the matter with each.
    if error.code() != Code._ALL_BROKERS_DOWN:  # noqa: SLF001 - the constant's name
        _complaints[key] = error


def _complaint(broker: Broker | None) -> tuple[tuple[str, ...], bool]:
    """Why a broker could not be reached, as far as its administrator was told, and whether it was we whom it refused."""
    from confluent_kafka import KafkaError as Code

    key = _key(broker) if broker else ()
    if (admin := _administrators.get(key)) is not None:
        admin.poll(0)  # what it was told is handed over here
    error = _complaints.get(key)
    if error is None:
        return (), False
    is_refused = error.code() in {Code._SSL, Code._AUTHENTICATION}  # noqa: SLF001 - the constants' names
    # Where a handshake ends with the connection, only the text tells, with the alert that the broker may have sent before.
    return (error.str(),), is_refused or any(text in error.str() for text in ("SSL alert", "SSL handshake"))


@contextmanager
def _turn() -> Iterator[None]:
    is_ours = _looking_up.acquire(timeout=_TURN)
    try:
        yield
    finally:
        if is_ours:
            _looking_up.release()


def metadata(admin: Any) -> Any:
    """Every broker and every topic of the cluster, as librdkafka tells them; raises what it raises."""
    with _turn():
        return admin.list_topics(timeout=SECONDS)


def partitions(broker: Broker, admin: Any, topics: Sequence[str]) -> list[Place]:
    """Every (topic, partition) of the topics.

    Raises:
        KafkaError: the cluster has no such topic.
    """
    return survey(broker, admin, topics)[1]


def survey(broker: Broker, admin: Any, topics: Sequence[str]) -> tuple[str, list[Place]]:
    """The cluster's id, and every (topic, partition) of the topics.

    Raises:
        KafkaError: the cluster has no such topic.
    """
    with translated("list partitions", broker):
        known = metadata(admin)
    for topic in topics:
        if topic not in known.topics:
            raise KafkaError(f"Kafka: there is no topic {topic!r}", hint="todoctl topics list")
    places = [(topic, number) for topic in dict.fromkeys(topics) for number in sorted(known.topics[topic].partitions)]
    return str(known.cluster_id), places


def leaders(broker: Broker, places: Iterable[Place]) -> dict[str, list[Place]]:
    """The broker that leads each of the places, as a name for a person with its address → its places."""
    with translated("ask who leads the partitions", broker):
        known = metadata(administrator(broker))
    found: dict[str, list[Place]] = {}
    for topic, number in places:
        partition = known.topics[topic].partitions.get(number) if topic in known.topics else None
        if partition is None:
            raise KafkaError(f"Kafka: {topic}/{number} is gone: the topic was deleted", hint="todoctl topics list")
        leader = known.brokers.get(partition.leader)
        name = f"broker {leader.id} at {leader.host}:{leader.port}" if leader else "no broker at all"
        found.setdefault(name, []).append((topic, number))
    return found


def offsets(
    broker: Broker, admin: Any, wanted: Mapping[Place, Any], *, read_committed: bool = False
) -> dict[Place, int]:
    """(topic, partition) → the offset that each place's OffsetSpec asks for; -1 where a time has none.

    Raises:
        KafkaError: a leader does not answer; it is named, with its partitions.
    """
    found: dict[Place, int] = {}
    deadline = time.monotonic() + SECONDS
    while True:
        asked = {place: spec for place, spec in wanted.items() if place not in found}
        failed = _ask_offsets(admin, asked, found, read_committed=read_committed)
        # A leader that has just changed, or a topic that has just been made, is a matter of moments.
        if not failed or time.monotonic() > deadline or not all(is_passing for _, is_passing in failed.values()):
            break
        time.sleep(0.1)
    if failed:
        lines = [
            f"{leader} leads {', '.join(f'{topic}/{number}' for topic, number in sorted(places))}: {failed[places[0]][0]}"
            for leader, places in leaders(broker, failed).items()
        ]
        raise failure(broker, f"Kafka: no offsets of {len(failed)} of {len(wanted)} partitions", tuple(lines))
    return found


def _ask_offsets(
    admin: Any, asked: Mapping[Place, Any], found: dict[Place, int], *, read_committed: bool
) -> dict[Place, tuple[str, bool]]:
    """Adds to `found`; gives place → why it has no answer, and whether that may pass soon."""
    from concurrent.futures import TimeoutError as FutureTimeoutError

    from confluent_kafka import OFFSET_INVALID, IsolationLevel, KafkaException, TopicPartition

    isolation = IsolationLevel.READ_COMMITTED if read_committed else IsolationLevel.READ_UNCOMMITTED
    specs = {TopicPartition(*place): spec for place, spec in asked.items()}
    failed: dict[Place, tuple[str, bool]] = {}
    with _turn():
        with translated("ask for offsets"):
            answers = admin.list_offsets(specs, isolation_level=isolation, request_timeout=SECONDS) if specs else {}
        for item, future in answers.items():
            place = (item.topic, item.partition)
            try:
                offset = future.result(SECONDS + 1).offset
                if offset == OFFSET_INVALID:
                    # Of a leader that can't be reached librdkafka gives this, and no error.
                    failed[place] = ("its leader did not answer", True)
                else:
                    found[place] = offset
            except KafkaException as error:
                reason = error.args[0]
                failed[place] = (reason.str(), reason.code() in _passing())
            except FutureTimeoutError:
                failed[place] = ("no answer", False)
    return failed


def _passing() -> set[int]:
    from confluent_kafka import KafkaError as Code

    return {
        Code.LEADER_NOT_AVAILABLE,
        Code.NOT_LEADER_FOR_PARTITION,
        Code.OFFSET_NOT_AVAILABLE,
        Code.UNKNOWN_TOPIC_OR_PART,
        Code.FENCED_LEADER_EPOCH,
        Code.UNKNOWN_LEADER_EPOCH,
        Code.REPLICA_NOT_AVAILABLE,
    }


def failure(
    broker: Broker, message: str, detail: tuple[str, ...] = (), hint: str = "todoctl status"
) -> UnreachableError:
    """The error that nobody answered; it names the brokers that can't be reached where they say that they are."""
    away = reach.unreachable(reach.advertised({**broker.settings, **_ADMINISTRATOR}))
    if not away:
        return UnreachableError(f"{message} (asked {broker.addresses})", detail=detail, hint=hint)
    return UnreachableError(
        f"{message}; {broker.addresses} answered, but {away[0]}",
        detail=(*away[1:], *detail),
        hint="start that broker, or give it advertised.listeners that hold here, too; what is asked first: todoctl env show",
    )


@contextmanager
def translated(what: str, broker: Broker | None = None, *, hint: str = "todoctl status") -> Iterator[None]:
    """Turns every error of Kafka's client into one KafkaError that says `what` could not be done, where, and why."""
    from concurrent.futures import TimeoutError as FutureTimeoutError

    from confluent_kafka import KafkaException

    try:
        yield
    except KafkaException as error:
        reason = error.args[0].str() if error.args and hasattr(error.args[0], "str") else str(error)
        message, is_silent = f"Kafka: could not {what}: {reason}", reach.is_silence(error.args[0])
        raise _failed(message, broker, is_silent=is_silent, hint=hint) from error
    except (FutureTimeoutError, TimeoutError) as error:
        message = f"Kafka: could not {what}: no answer in {SECONDS:.0f} s"
        raise _failed(message, broker, is_silent=True, hint=hint) from error


def _failed(message: str, broker: Broker | None, *, is_silent: bool, hint: str) -> KafkaError:
    detail, is_refused = _complaint(broker)
    if is_refused:
        hint = "todoctl env show"
    if broker is None:
        return KafkaError(message, detail=detail, hint=hint)
    if is_silent and not is_refused:
        return failure(broker, message, detail)
    return KafkaError(f"{message} (asked {broker.addresses})", detail=detail, hint=hint)
