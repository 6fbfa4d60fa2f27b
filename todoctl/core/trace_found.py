"""What rows and records say about an event: read into a trace's values, whoever wrote them, and joined."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from todoctl.core.dead_letters import DeadLetter
from todoctl.core.events import DEAD_LETTERS
from todoctl.core.trace import AuditRow, Letter, Place, Seen

_LATEST_MS = 253_402_300_800_000  # the end of the year 9999
_OPTIONAL = ("event_id", "correlation_id", "waits_since", "place", "published_at", "audit", "searched")


def in_audit(row: Mapping[str, Any]) -> Seen | Letter | None:
    """What an audit row is about, with the place that its record had; None where its record could not be read."""
    offset = row["record_offset"]
    place = None if offset is None else Place(row["topic"], row["partition"], offset)
    if row["topic"] == DEAD_LETTERS:
        return _letter(row["details"], place)
    seen = _event(row["topic"], row["details"])
    audit = AuditRow(row["log_id"], row["chain_seq"], row["recorded_at"])
    return seen and replace(seen, place=place, audit=audit)


def in_outbox(row: Mapping[str, Any]) -> Seen | None:
    """The event of an entry that waits in the outbox."""
    seen = _event(row["topic"], row["envelope"].get("data"))
    return seen and replace(seen, waits_since=row["created_at"])


def in_record(place: Place, value: bytes | None, timestamp_ms: int) -> Seen | Letter | None:
    """What a record is about; None for a tombstone, a probe, or anything that is not ours."""
    try:
        envelope = json.loads(value or b"")
    except (ValueError, RecursionError):
        return None
    data = envelope.get("data") if isinstance(envelope, dict) else None
    if place.topic == DEAD_LETTERS:
        return _letter(data, place)
    seen = _event(place.topic, data)
    # A producer may write any time, one beyond the calendar, too.
    is_time = 0 < timestamp_ms < _LATEST_MS
    written = datetime.fromtimestamp(timestamp_ms / 1000, UTC) if is_time else None
    return seen and replace(seen, place=place, published_at=written)


def join(sightings: Iterable[Seen]) -> tuple[Seen, ...]:
    """One value for each event of all that was seen of it; what was seen first stays where two differ."""
    known: dict[tuple[object, ...], Seen] = {}
    for seen in sightings:
        before = known.get(seen.identity)
        known[seen.identity] = seen if before is None else _both(before, seen)
    return tuple(sorted(known.values(), key=lambda seen: (seen.occurred_at, seen.topic, seen.type)))


def _both(first: Seen, second: Seen) -> Seen:
    if first.event_id and second.event_id and first.event_id != second.event_id:
        return first
    # One that has an id was seen somewhere; one that has none only follows from a row.
    base, other = (first, second) if first.event_id or not second.event_id else (second, first)
    return replace(
        base,
        payload=max(base.payload, other.payload, key=len),
        is_searched=base.is_searched and other.is_searched,
        **{name: getattr(base, name) or getattr(other, name) for name in _OPTIONAL},
    )


def _event(topic: str, data: Any) -> Seen | None:
    """The event in `data`, read as leniently as can be: a trace shows what is there."""
    if not isinstance(data, dict):
        return None
    numbers = [data.get(name) for name in ("user_id", "task_id", "user_seq")]
    words = [data.get(name) for name in ("event_id", "event_type", "occurred_at")]
    if not all(type(number) is int for number in numbers) or not all(isinstance(word, str) for word in words):
        return None
    try:
        moment = datetime.fromisoformat(str(words[2]))
    except ValueError:
        return None
    payload = data.get("payload")
    return Seen(
        topic=topic,
        type=str(words[1]),
        user_id=int(numbers[0] or 0),
        task_id=int(numbers[1] or 0),
        user_seq=int(numbers[2] or 0),
        occurred_at=moment if moment.tzinfo else moment.replace(tzinfo=UTC),
        event_id=str(words[0]),
        correlation_id=str(data.get("correlation_id", "")),
        payload=payload if isinstance(payload, dict) else {},
    )


def _letter(data: Any, place: Place | None) -> Letter | None:
    try:
        letter = DeadLetter.model_validate(data)
    except ValidationError:
        return None
    origin = letter.origin
    lay = None
    if origin.partition is not None and origin.offset is not None:
        lay = Place(origin.topic, origin.partition, origin.offset)
    return Letter(
        letter_id=str(letter.letter_id),
        consumer=letter.consumer,
        error_class=letter.error_class,
        message=letter.message,
        attempts=letter.attempts,
        failed_at=letter.failed_at,
        event_id=letter.event_id,
        origin=lay,
        place=place,
        correlation_id=letter.correlation_id or "",
    )
