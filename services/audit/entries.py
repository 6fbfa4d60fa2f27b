"""Entries of the audit log: what is kept of each record, sound or not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID, uuid5

from pydantic_core import to_json

from services.audit.plain_events import AnyPlainEvent, PlainReminder, plain_event
from services.common.delivery import LARGEST_ID, AnyEvent, Delivery, event_in, read_envelope
from services.common.letters import clean, hints, record_id
from todoctl.core.audit_chain import Plain, plain_moment
from todoctl.core.dead_letters import DeadLetter, Origin
from todoctl.core.events import ReminderDetail

# A record that came without a place has its own chain.
NO_PARTITION = -1

_LARGEST_PARTITION = 2**31
_LONGEST_WORD = 200
_LONGEST_KEY = 10_000
_NAMESPACE = UUID("0b6d7d0c-6d0e-4a3c-8a53-7f5d6a0d8b11")


class Entry(NamedTuple):
    """One row to be, without its place in the chain; `details` is JSON text, `raw` a record that has none."""

    topic: str
    partition: int
    record_offset: int | None
    record_key: str | None
    event_id: UUID
    action_type: str
    resource_type: str
    timestamp: datetime
    resource_id: int | None = None
    user_id: int | None = None
    user_seq: int | None = None
    version: int | None = None
    correlation_id: str | None = None
    details: str | None = None
    raw: bytes | None = None

    def plain(self, *, chain_seq: int, recorded_at: str) -> list[Plain]:
        """The columns that the chain's hash covers, in its order."""
        return [
            self.topic,
            self.partition,
            chain_seq,
            self.record_offset,
            self.record_key,
            str(self.event_id),
            self.action_type,
            self.resource_type,
            self.resource_id,
            self.user_id,
            self.user_seq,
            self.version,
            self.correlation_id,
            plain_moment(self.timestamp),
            recorded_at,
            self.details,
            None if self.raw is None else self.raw.hex(),
        ]


def event_entry(delivery: Delivery) -> Entry:
    """The entry of an event; raises a PermanentError when the record is none."""
    plain = plain_event(delivery.value, delivery.origin.topic)
    return model_entry(delivery) if plain is None else _event_entry(delivery.origin, *plain)


def model_entry(delivery: Delivery) -> Entry:
    """The same by the models alone, which take every event that there may be."""
    envelope = read_envelope(delivery.value)
    event = event_in(envelope, delivery.origin.topic)
    return _event_entry(delivery.origin, event, event.occurred_at, _text(envelope["data"]))


def _event_entry(origin: Origin, event: AnyEvent | AnyPlainEvent, occurred_at: datetime, details: str) -> Entry:
    reminder = event.payload if isinstance(event.payload, (ReminderDetail, PlainReminder)) else None
    return Entry(
        *_place(origin),
        event_id=event.event_id,
        action_type=event.event_type,
        resource_type="reminder" if reminder else "task",
        timestamp=occurred_at,
        resource_id=reminder.reminder_id if reminder else event.task_id,
        user_id=event.user_id,
        user_seq=event.user_seq,
        version=event.version,
        correlation_id=clean(event.correlation_id, _LONGEST_WORD),
        details=details,
    )


def letter_entry(delivery: Delivery, *, now: datetime) -> Entry:
    """The entry of a dead letter; a record that is none is kept as it is, so this never fails."""
    try:
        data = read_envelope(delivery.value)["data"]
        letter = DeadLetter.model_validate(data)
    except Exception:  # noqa: BLE001 - a dead letter is never dead-lettered, whatever is wrong with it
        return _raw_entry(delivery, now)
    return Entry(
        *_place(delivery.origin),
        event_id=letter.letter_id,
        action_type="dead-letter",
        resource_type="dead-letter",
        user_id=_identity(letter.user_id),
        correlation_id=_word(letter.correlation_id),
        timestamp=letter.failed_at,
        details=_text(data),
    )


def _raw_entry(delivery: Delivery, now: datetime) -> Entry:
    said, written = hints(delivery.value), delivery.origin.timestamp_ms
    return Entry(
        *_place(delivery.origin),
        event_id=uuid5(_NAMESPACE, record_id(delivery)),
        action_type="unreadable",
        resource_type="dead-letter",
        user_id=said.get("user_id"),
        correlation_id=said.get("correlation_id"),
        timestamp=_moment(written) or now,
        raw=delivery.value,
    )


def _place(origin: Origin) -> tuple[str, int, int | None, str | None]:
    """Topic, partition, offset and key, the first columns of an entry."""
    partition = origin.partition
    return (
        origin.topic,
        NO_PARTITION if partition is None or partition >= _LARGEST_PARTITION else partition,
        origin.offset,
        None if origin.key is None else clean(origin.key, _LONGEST_KEY),
    )


def _identity(value: int | None) -> int | None:
    return value if value is not None and 0 < value < LARGEST_ID else None


def _word(value: str | None) -> str | None:
    return None if value is None else clean(value, _LONGEST_WORD)


def _moment(milliseconds: int | None) -> datetime | None:
    # Kafka's "no timestamp" is negative; anything past 2100 is not a time that we could have been given.
    if not milliseconds or milliseconds > 4_102_444_800_000:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def _text(data: Any) -> str:
    # Control characters stay escapes, NUL among them, which PostgreSQL's json takes and text does not.
    return to_json(data).decode()
