"""Any record of a dead-letter topic as one kind of value: ours, Dapr's, other tools', and what is no letter at all."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Protocol

import msgspec
from pydantic import ValidationError
from pydantic_core import from_json

from todoctl.core.dead_letters import DeadLetter
from todoctl.core.dlq.foreign import Account, Form, Header, Place, Reason, read_headers

# A record that was re-published carries plan, letter and how often it was sent; consumers get no Kafka headers.
MARK = "todoctl-replay"

_LETTER_TYPE = "dead-letter"
_LONGEST_KEY = 10_000
_CUT = re.compile(r"\[value cut to \d+ of (\d+) bytes\]")
_WORD = 200


class Record(Protocol):
    """A Kafka record; times in Unix milliseconds."""

    @property
    def partition(self) -> int: ...  # noqa: D102
    @property
    def offset(self) -> int: ...  # noqa: D102
    @property
    def timestamp_ms(self) -> int: ...  # noqa: D102
    @property
    def key(self) -> bytes | None: ...  # noqa: D102
    @property
    def value(self) -> bytes | None: ...  # noqa: D102
    @property
    def headers(self) -> Sequence[Header]: ...  # noqa: D102


class _Data(msgspec.Struct, gc=False):
    value: bytes  # base64 in the document


class _Wrapped(msgspec.Struct, gc=False):
    """Of a letter of ours that was read before, the record's value alone."""

    data: _Data


_WRAPPED = msgspec.json.Decoder(_Wrapped)
_pack = msgspec.msgpack.Encoder().encode


@dataclass(frozen=True, slots=True)
class Hints:
    """What a dead record says about itself; nothing of it was checked."""

    event_id: str | None = None
    event_type: str | None = None
    user_id: int | None = None
    correlation_id: str | None = None


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter: where it lies, why its record died, and that record as far as the letter has it.

    `headers` are the record's, `all_headers` the letter's own. `has_headers` says whether the former are known, `is_whole` whether its value and key are
    byte for byte what they were.
    """

    partition: int
    offset: int
    written_ms: int
    form: Form
    letter_id: str | None
    origin: Place | None
    reason: Reason
    hints: Hints
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...]
    all_headers: tuple[Header, ...]
    has_headers: bool
    is_whole: bool
    digest: str

    @property
    def name(self) -> str:
        """How operators name it: `partition/offset`."""
        return f"{self.partition}/{self.offset}"

    @property
    def came_back(self) -> int:
        """How often it was re-published already, as the letter itself tells."""
        return came_back(self.headers)


def read_letter(record: Record) -> Letter:
    """The letter that a record of a dead-letter topic is; a record that is none becomes one without a reason."""
    return _ours(record) or _foreign(record, read_headers(record.headers))


def digest(key: bytes | None, value: bytes | None, headers: Sequence[Header]) -> str:
    """What tells whether a record is byte for byte the one that was seen before."""
    # MessagePack has each part's kind and length: a byte that moves from one to the next is a change.
    return sha256(_pack((key, value, headers))).hexdigest()


def digests(
    keys: Iterable[bytes | None], values: Iterable[bytes | None], headers: Iterable[Sequence[Header] | None]
) -> list[str]:
    """The digest of each of many records."""
    packed = map(_pack, zip(keys, values, [each or () for each in headers], strict=True))
    return [sha256(record).hexdigest() for record in packed]


def wrapped_value(value: bytes | None) -> bytes:
    """The record's value inside a letter of ours that was read before."""
    return _WRAPPED.decode(value or b"").data.value


def came_back(headers: Sequence[Header]) -> int:
    """How often the record with these headers was re-published."""
    counts = [value.rpartition(b"/")[2] for name, value in headers if name == MARK and value]
    return max((int(count) for count in counts if count.isdigit() and len(count) < 10), default=0)


def marks(plan: str, letters: Iterable[str], counts: Iterable[int]) -> list[Header]:
    """For each letter, by its name, the header of the record that is re-published for it, for the `count`th time."""
    return [(MARK, f"{plan}/{letter}/{count}".encode()) for letter, count in zip(letters, counts, strict=True)]


def hints_of(value: bytes | None) -> Hints:
    """What a record's value says about itself."""
    envelope = _json_object(value)
    data = envelope.get("data")
    fields = data if isinstance(data, dict) else {}
    user_id = fields.get("user_id")
    return Hints(
        event_id=_word(fields.get("event_id") or envelope.get("id")),
        event_type=_word(fields.get("event_type") or envelope.get("type")),
        user_id=user_id if type(user_id) is int else None,
        correlation_id=_word(fields.get("correlation_id")),
    )


def _ours(record: Record) -> Letter | None:
    envelope = _json_object(record.value)
    if envelope.get("type") != _LETTER_TYPE:
        return None
    try:
        data = DeadLetter.model_validate(envelope.get("data"))
        value = b64decode(data.value, validate=True)
    except (ValidationError, ValueError):
        return None
    origin, cut = data.origin, _CUT.match(data.message)
    key = None if origin.key is None else origin.key.encode("utf-8", "surrogatepass")
    # The consumer had the key as text: bytes that are not UTF-8 became escapes, a long one was cut.
    is_key_exact = key is None or (b"\\" not in key and len(key) < _LONGEST_KEY)
    return Letter(
        partition=record.partition,
        offset=record.offset,
        written_ms=record.timestamp_ms,
        form="todoctl",
        letter_id=str(data.letter_id),
        origin=Place(origin.topic, origin.partition, origin.offset, origin.timestamp_ms),
        reason=Reason(data.consumer, data.error_class, data.message, data.kind, data.attempts),
        hints=Hints(data.event_id, data.event_type, data.user_id, data.correlation_id),
        key=key,
        value=value,
        headers=(),
        all_headers=tuple(record.headers),
        has_headers=False,
        is_whole=is_key_exact and cut is None,
        digest=digest(record.key, record.value, record.headers),
    )


def _foreign(record: Record, account: Account) -> Letter:
    return Letter(
        partition=record.partition,
        offset=record.offset,
        written_ms=record.timestamp_ms,
        form=account.form,
        letter_id=None,
        origin=account.place,
        reason=account.reason,
        hints=hints_of(record.value),
        key=record.key,
        value=record.value,
        headers=account.headers,
        all_headers=tuple(record.headers),
        has_headers=True,
        is_whole=True,
        digest=digest(record.key, record.value, record.headers),
    )


def _json_object(value: bytes | None) -> dict[str, Any]:
    if not value or value[:1] not in b"{ \t\r\n":
        return {}
    try:
        parsed = from_json(value)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _word(value: Any) -> str | None:
    return value[:_WORD] if isinstance(value, str) and value else None
