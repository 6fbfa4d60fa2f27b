"""Dead letters that other tools write: the record itself with what they know about it in headers.

Sources: Dapr's Kafka component, seen live with daprd 1.16; Spring Kafka's KafkaHeaders.DLT_* (numbers are big-endian);
Kafka Connect's KIP-298 (numbers are text).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Header = tuple[str, bytes | None]
# Stands for the headers of a record of which one has a name that is not UTF-8: Kafka's client can't give any of them.
UNREADABLE = "(a name that is not UTF-8)"

Form = Literal["todoctl", "dapr", "spring", "connect", "foreign"]

_DAPR = ("__topic", "__partition", "__offset", "__key", "__timestamp", "pubsubName")
_SPRING = "kafka_dlt-"
_CONNECT = "__connect.errors."


@dataclass(frozen=True, slots=True)
class Place:
    """Where a record lay, as far as it is known; the time in Unix milliseconds."""

    topic: str
    partition: int | None = None
    offset: int | None = None
    timestamp_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a record died, as far as somebody wrote it down."""

    consumer: str | None = None
    error_class: str | None = None
    message: str | None = None
    kind: str | None = None
    attempts: int | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """What headers tell of a dead record: who wrote the letter, where it lay, why, and the headers that it had."""

    form: Form
    place: Place | None
    reason: Reason
    headers: tuple[Header, ...]


def read_headers(headers: Sequence[Header]) -> Account:
    """What the headers of a letter tell, whoever wrote it."""
    known = {name: value for name, value in headers if value is not None}
    for reader in (_dapr, _spring, _connect):
        if account := reader(known, headers):
            return account
    return Account("foreign", None, Reason(), tuple(headers))


def _dapr(known: Mapping[str, bytes], headers: Sequence[Header]) -> Account | None:
    if "__topic" not in known or "__offset" not in known:
        return None
    place = Place(
        _text(known["__topic"]) or "",
        _number(known.get("__partition")),
        _number(known["__offset"]),
        _number(known.get("__timestamp")),
    )
    # Dapr says neither who failed nor why.
    return Account("dapr", place, Reason(), tuple(item for item in headers if item[0] not in _DAPR))


def _spring(known: Mapping[str, bytes], headers: Sequence[Header]) -> Account | None:
    found = {name.removeprefix(_SPRING): value for name, value in known.items() if name.startswith(_SPRING)}
    if "original-topic" not in found:
        return None
    place = Place(
        _text(found["original-topic"]) or "",
        _big_endian(found.get("original-partition")),
        _big_endian(found.get("original-offset")),
        _big_endian(found.get("original-timestamp")),
    )
    error = _text(found.get("exception-cause-fqcn")) or _text(found.get("exception-fqcn"))
    reason = Reason(
        consumer=_text(found.get("original-consumer-group")),
        error_class=error and error.rpartition(".")[2],
        message=_text(found.get("exception-message")),
        code=_text(found.get("exception-stacktrace")),
    )
    return Account("spring", place, reason, tuple(item for item in headers if not item[0].startswith(_SPRING)))


def _connect(known: Mapping[str, bytes], headers: Sequence[Header]) -> Account | None:
    found = {name.removeprefix(_CONNECT): _text(value) for name, value in known.items() if name.startswith(_CONNECT)}
    topic = found.get("topic")
    if topic is None:
        return None
    place = Place(topic, _number(known.get(f"{_CONNECT}partition")), _number(known.get(f"{_CONNECT}offset")))
    error = found.get("exception.class.name")
    reason = Reason(
        consumer=found.get("connector.name"),
        error_class=error and error.rpartition(".")[2],
        message=found.get("exception.message"),
        code=found.get("exception.stacktrace"),
    )
    return Account("connect", place, reason, tuple(item for item in headers if not item[0].startswith(_CONNECT)))


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "backslashreplace")


def _number(value: bytes | None) -> int | None:
    # Kafka's offsets and times are 64 bits; int() itself would take signs, spaces and other alphabets.
    return int(value) if value and value.isdigit() and len(value) <= 18 else None


def _big_endian(value: bytes | None) -> int | None:
    if value is None or len(value) not in {4, 8}:
        return None
    number = int.from_bytes(value, "big", signed=True)
    return number if number >= 0 else None
