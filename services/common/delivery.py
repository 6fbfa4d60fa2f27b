"""A record as the sidecar delivers it: the bytes that lay on the topic, where they lay, the event inside.

Subscriptions are raw: Dapr wraps the record's bytes in base64 and looks at nothing, so no record can crash it
(daprd 1.16 asserts that trace fields are strings) and no two records get one id.
"""

from __future__ import annotations

from binascii import a2b_base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes

from msgspec import DecodeError, Struct, json
from pydantic import ValidationError
from pydantic_core import from_json, to_json

from services.common.verdicts import InvalidEventError, UnreadableRecordError, UnsupportedEventError
from todoctl.core.dead_letters import Origin
from todoctl.core.events import (
    PROBE_TYPE,
    ReminderEvent,
    TaskEvent,
    TaskUpdateEvent,
    UnsupportedVersionError,
    parse_event,
)

AnyEvent = TaskEvent | ReminderEvent | TaskUpdateEvent

# PostgreSQL's bigint.
LARGEST_ID = 2**63

_PROBE = PROBE_TYPE.encode()


class _Place(Struct, gc=False, rename="__{}".format):
    key: str | None = None
    partition: str | None = None
    offset: str | None = None
    timestamp: str | None = None


class _Entry(Struct, gc=False, rename="camel"):
    event: bytes
    metadata: _Place
    entry_id: str | None = None


class _Bulk(Struct):
    entries: list[_Entry]


_BULK = json.Decoder(_Bulk)


@dataclass(frozen=True, slots=True)
class Delivery:
    """One record: its value, where it lay, and its entry in a bulk delivery."""

    value: bytes
    origin: Origin
    entry_id: str | None = None


def read_single(body: bytes, headers: Mapping[str, str], topic: str) -> Delivery:
    """The record in a single delivery; a body that Dapr did not wrap is itself the record."""
    envelope = _json_object(body)
    wrapped = envelope.get("data_base64") if "data" not in envelope else None
    value = _unwrapped(wrapped) if isinstance(wrapped, str) else None
    return Delivery(body if value is None else value, _origin(headers, topic))


def read_bulk(body: bytes, topic: str) -> list[Delivery]:
    """The records in a bulk delivery; a body without entries is itself one record."""
    try:
        # All at once, base64 included: piece by piece, in Python, reading costs five times as much.
        bulk = _BULK.decode(body)
    except (DecodeError, UnicodeDecodeError, RecursionError):
        return _read_odd_bulk(body, topic)
    return [_expected_entry(entry, topic) for entry in bulk.entries]


def _read_odd_bulk(body: bytes, topic: str) -> list[Delivery]:
    """The records in a bulk delivery that is not, or not in all its entries, as daprd writes it."""
    entries = _json_object(body).get("entries")
    if not isinstance(entries, list):
        return [Delivery(body, Origin(topic=topic))]
    return [_entry(entry, topic) for entry in entries]


def read_event(delivery: Delivery) -> AnyEvent:
    """The event of a record.

    Raises:
        PermanentError: one of its kinds, with what does not fit.
    """
    return event_in(read_envelope(delivery.value), delivery.origin.topic)


def event_in(envelope: dict[str, Any], topic: str) -> AnyEvent:
    """The event inside an envelope from `topic`; raises as `read_event` does."""
    try:
        return parse_event(topic, envelope)
    except UnsupportedVersionError as exc:
        raise UnsupportedEventError(str(exc)) from exc
    except ValidationError as exc:
        raise InvalidEventError(_what_does_not_fit(exc)) from exc
    except ValueError as exc:
        raise InvalidEventError(str(exc)) from exc


def is_probe(delivery: Delivery) -> bool:
    """Whether the record is an operator's probe, which has no effect."""
    # Looked for as bytes first: hardly any record is one, and parsing each twice would cost.
    return _PROBE in delivery.value and _json_object(delivery.value).get("type") == PROBE_TYPE


def read_envelope(value: bytes) -> dict[str, Any]:
    """The CloudEvents envelope of a record; UnreadableRecordError when it is no JSON object."""
    try:
        envelope = from_json(value, allow_inf_nan=False)
    except ValueError as exc:
        raise UnreadableRecordError(f"not JSON: {exc}") from exc
    if not isinstance(envelope, dict):
        raise UnreadableRecordError(f"a JSON {type(envelope).__name__}, not an object")
    return envelope


def _expected_entry(entry: _Entry, topic: str) -> Delivery:
    place = entry.metadata
    origin = _origin_of(topic, place.key, place.partition, place.offset, place.timestamp)
    return Delivery(entry.event, origin, entry.entry_id)


def _entry(entry: Any, topic: str) -> Delivery:
    if not isinstance(entry, dict):
        return Delivery(to_json(entry), Origin(topic=topic))
    event, entry_id, metadata = entry.get("event"), entry.get("entryId"), entry.get("metadata")
    return Delivery(
        value=_entry_value(event),
        origin=_origin(metadata if isinstance(metadata, dict) else {}, topic),
        entry_id=entry_id if isinstance(entry_id, str) else None,
    )


def _entry_value(event: Any) -> bytes:
    if not isinstance(event, str):
        return to_json(event)
    value = _unwrapped(event)
    return event.encode() if value is None else value


def _origin(metadata: Mapping[str, Any], topic: str) -> Origin:
    return _origin_of(topic, *(metadata.get(f"__{name}") for name in ("key", "partition", "offset", "timestamp")))


def _origin_of(topic: str, key: Any, partition: Any, offset: Any, timestamp: Any) -> Origin:
    return Origin(
        topic=topic,
        partition=_number(partition),
        offset=_number(offset),
        key=_unescaped(key) if isinstance(key, str) else None,
        timestamp_ms=_number(timestamp),
    )


def _unescaped(key: str) -> str:
    # Nearly every key is a user's id, which no escaping changes.
    if key.isalnum() and key.isascii():
        return key
    # The component's escapeHeaders is Go's QueryEscape; a key that is not UTF-8 is shown rather than refused.
    return unquote_to_bytes(key.replace("+", " ")).decode("utf-8", "backslashreplace")


def _number(text: Any) -> int | None:
    # No more digits than a 64-bit number always has room for; others than ASCII's are none of the broker's.
    if not isinstance(text, str) or len(text) > 18 or not text.isascii() or not text.isdigit():
        return None
    return int(text)


def _unwrapped(text: str) -> bytes | None:
    try:
        return a2b_base64(text, strict_mode=True)
    except ValueError:
        return None


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        parsed = from_json(body)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _what_does_not_fit(error: ValidationError) -> str:
    problems = error.errors(include_url=False, include_input=False, include_context=False)
    shown = [f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}" for problem in problems[:5]]
    more = [f"and {len(problems) - 5} more"] if len(problems) > 5 else []
    return "; ".join(shown + more)
