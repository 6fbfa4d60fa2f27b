"""Records in Kafka transactions: all of a batch are there for readers of committed records, or none."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import repeat
from operator import length_hint
from types import TracebackType
from typing import Any, Self

from todoctl.adapters.kafka.client import SECONDS, Broker, KafkaError
from todoctl.adapters.kafka.producer import LARGEST_BATCH

_SILENT = logging.getLogger("todoctl.librdkafka")
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False

_SETTINGS = {
    "acks": "all",
    # Dapr's client puts a key where this puts it.
    "partitioner": "fnv1a_random",
    # Being fenced is fatal to librdkafka, which would say so on stderr; here it is an error like others.
    "logger": _SILENT,
    # A broker that comes back within this time is waited for; a transaction that is left alone ends after it.
    "transaction.timeout.ms": "30000",
    "message.timeout.ms": "30000",
    # A commit does not wait for it. With 20 a replay's requests are smaller: a tenth more work for the broker.
    "linger.ms": "100",
    # The topic decides how large a record may be.
    "message.max.bytes": "100000000",
    "socket.connection.setup.timeout.ms": "2000",
    "reconnect.backoff.max.ms": "1000",
}
_PATIENCE = 30.0

Header = tuple[str, bytes | None]


@dataclass(frozen=True, slots=True)
class Sends:
    """Records to publish, column by column; partition -1 is the one where a record's key belongs."""

    topics: list[str] = field(default_factory=list)
    values: list[bytes | None] = field(default_factory=list)
    keys: list[bytes | None] = field(default_factory=list)
    partitions: list[int] = field(default_factory=list)
    headers: list[list[Header]] = field(default_factory=list)

    def __len__(self) -> int:
        """How many records."""
        return len(self.topics)

    def extend(self, more: Sends) -> None:
        """Add other records behind these."""
        self.topics.extend(more.topics)
        self.values.extend(more.values)
        self.keys.extend(more.keys)
        self.partitions.extend(more.partitions)
        self.headers.extend(more.headers)


class FencedError(KafkaError):
    """Somebody else took the transactional id: nothing of the transaction that was open is seen."""


class UnsettledError(KafkaError):
    """The broker went away: the transaction that was open is there as a whole or not at all, nobody knows yet.

    The next `Transactions` with the same id settles it.
    """


class RejectedError(KafkaError):
    """The broker refused: a permission, a size, a topic. Nothing of the open transaction is seen."""


class Transactions:
    """A producer that holds its transactional id from `__enter__` on; who held it before is fenced.

    After `__enter__` every transaction of a former holder is settled, so that a reader of committed records sees all.
    """

    def __init__(self, broker: Broker, transactional_id: str, *, batch_bytes: int = LARGEST_BATCH) -> None:
        """Name the holder; a topic takes no batch of records that is larger than `max.message.bytes`, its setting."""
        self._settings = {
            **_SETTINGS,
            "batch.size": str(min(batch_bytes, LARGEST_BATCH)),
            **broker.settings,
            "transactional.id": transactional_id,
            # A commit that fails says only how many records did not arrive; the reports of those say why.
            "delivery.report.only.error": True,
            "on_delivery": self._remember,
        }
        self._producer: Any = None
        self._undelivered: Any = None

    def __enter__(self) -> Self:
        from confluent_kafka import Producer

        with _told_apart("open a transactional producer"):
            self._producer = Producer(self._settings)
        self._retried("take the transactional id", self._producer.init_transactions)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        # What was queued and not committed must not be waited for.
        self._producer.purge()
        self._producer = None

    def begin(self) -> None:
        """Begin a transaction; `send` belongs to it until `commit`."""
        self._undelivered = None
        with _told_apart("begin a transaction"):
            self._producer.begin_transaction()

    def send(self, topic: str, value: bytes | None, key: bytes | None, partition: int = -1) -> None:
        """Queue a record of the open transaction; -1 puts it where its key belongs."""
        self.send_all(Sends([topic], [value], [key], [partition], [[]]))

    def send_all(self, records: Sends) -> None:
        """Queue records of the open transaction in their order."""
        topics, none = iter(records.topics), repeat(None)
        # By position and without a loop of Python's own, which would take as long as the queueing itself.
        columns = (records.values, records.keys, records.partitions, none, none, repeat(0), records.headers)
        queued = map(self._producer.produce, topics, *columns)
        while True:
            try:
                deque(queued, maxlen=0)
            except BufferError:
                self._send_with_patience(records, len(records) - length_hint(topics) - 1)
            except Exception as error:
                raise self._refused(error) from error
            else:
                return

    def _send_with_patience(self, records: Sends, at: int) -> None:
        """The queue holds a batch of ours; a larger one waits for room."""
        topic, value, key = records.topics[at], records.values[at], records.keys[at]
        while True:
            self._producer.poll(0.05)
            try:
                self._producer.produce(topic, value, key, records.partitions[at], headers=records.headers[at])
            except BufferError:
                continue
            except Exception as error:
                raise self._refused(error) from error
            return

    def _refused(self, error: Exception) -> KafkaError:
        """Why no record is taken: where the transaction has failed already, only its commit tells the reason."""
        from confluent_kafka import KafkaError as Code
        from confluent_kafka import KafkaException

        if isinstance(error, KafkaException) and error.args[0].code() in {Code._STATE, Code._FATAL}:  # noqa: SLF001 - the constants' names
            self.commit()
        return _translated("produce", error)

    def abort(self) -> None:
        """Give up the open transaction, if there is one: nothing of it is seen by readers of committed records."""
        from confluent_kafka import KafkaError as Code
        from confluent_kafka import KafkaException

        try:
            self._producer.abort_transaction(SECONDS)
        except KafkaException as error:
            if error.args[0].code() != Code._STATE:  # noqa: SLF001 - the constant's name; none was open
                raise _translated("abort a transaction", error) from error

    def commit(self) -> None:
        """Return when the transaction is committed: its records will be seen, all of them, when the broker has marked them.

        Raises:
            FencedError, UnsettledError, RejectedError: as they say.
        """
        self._retried("commit a transaction", self._producer.commit_transaction)

    def _remember(self, error: Any, _message: Any) -> None:
        """Keep why the first record of the open transaction did not arrive; the others follow from it."""
        self._undelivered = self._undelivered or error

    def _retried(self, what: str, call: Callable[[float], Any]) -> None:
        """Call until it succeeds; librdkafka says which failures pass by themselves."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                call(max(1.0, deadline - time.monotonic()))
            except Exception as error:
                code = error.args[0] if error.args else None
                if getattr(code, "retriable", bool)() and time.monotonic() < deadline:
                    continue
                raise _translated(what, error, self._undelivered) from error
            else:
                return


def _translated(what: str, error: Exception, undelivered: Any = None) -> KafkaError:
    """The error that this failure of librdkafka's is here; the rest of its failures are refusals of the broker.

    `undelivered` is why the first record of the transaction did not arrive, if one did not.
    """
    from confluent_kafka import KafkaError as Code
    from confluent_kafka import KafkaException

    if not isinstance(error, KafkaException):
        raise error
    code = error.args[0]
    if undelivered is not None and code.code() == Code._INCONSISTENT:  # noqa: SLF001 - the constant's name
        code = undelivered
    message = f"Kafka: could not {what}: {code.str()}"
    if code.code() in {Code._FENCED, Code.PRODUCER_FENCED, Code.INVALID_PRODUCER_EPOCH}:  # noqa: SLF001 - the constant's name
        return FencedError(message)
    if code.code() in _unreachable() or code.retriable():
        return UnsettledError(message, hint="todoctl status")
    return RejectedError(message, hint="todoctl status")


@contextmanager
def _told_apart(what: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise _translated(what, error) from error


def _unreachable() -> set[int]:
    from confluent_kafka import KafkaError as Code

    return {
        Code._TIMED_OUT,  # noqa: SLF001 - the constants' names
        Code._MSG_TIMED_OUT,  # noqa: SLF001
        Code._TRANSPORT,  # noqa: SLF001
        Code._ALL_BROKERS_DOWN,  # noqa: SLF001
        Code._PURGE_QUEUE,  # noqa: SLF001
        Code._PURGE_INFLIGHT,  # noqa: SLF001
        Code.REQUEST_TIMED_OUT,
    }
