"""Dead letters: what is written about a record that can't be processed, and the topic it goes to."""

from __future__ import annotations

from base64 import b64encode
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from hashlib import sha256
from typing import Any, Protocol
from uuid import UUID, uuid4, uuid5

from services.common.delivery import LARGEST_ID, Delivery, read_envelope
from services.common.verdicts import UnreadableRecordError, kind_of
from todoctl.core.dead_letters import DeadLetter, to_cloud_event
from todoctl.core.events import DEAD_LETTERS

# A letter must fit into dlq-events' 2 MiB: base64 adds a third, the rest of the letter is below 32 KiB.
LONGEST_VALUE = 1_450_000

_LONGEST_KEY = 10_000
_LONGEST_MESSAGE = 2_000
_LONGEST_WORD = 200
_REMEMBERED = 10_000
_NAMESPACE = UUID("6f2b8c1e-0d57-4c39-9d0e-5a6a3f1f7d10")


class Publisher(Protocol):
    """What sends a CloudEvents envelope to a topic; the sidecar in every process."""

    async def publish(self, topic: str, envelope: dict[str, Any], *, key: str | None) -> None:
        """Send it, or raise."""


class Letters:
    """Sends dead letters of one consumer, each record's once."""

    def __init__(self, publisher: Publisher, *, consumer: str, clock: Callable[[], datetime]) -> None:
        self._publisher = publisher
        self._consumer = consumer
        self._clock = clock
        self._sent: OrderedDict[str, None] = OrderedDict()

    def has_sent(self, delivery: Delivery) -> bool:
        """Whether this record's letter is out already: its batch is delivered again because of another record."""
        return bool(self._sent) and record_id(delivery) in self._sent

    async def send(self, delivery: Delivery, error: Exception, *, attempts: int) -> DeadLetter:
        """Publish the letter about one record; raises what the sidecar raises."""
        letter = letter_about(delivery, error, consumer=self._consumer, attempts=attempts, failed_at=self._clock())
        await self._publisher.publish(DEAD_LETTERS, to_cloud_event(letter), key=_message_key(delivery))
        if _has_place(delivery):
            self._sent[record_id(delivery)] = None
        if len(self._sent) > _REMEMBERED:
            self._sent.popitem(last=False)
        return letter


def record_id(delivery: Delivery) -> str:
    """What tells one record from all others: where it lay, when it was written, and its bytes."""
    origin = delivery.origin
    place = f"{origin.topic}/{origin.partition}/{origin.offset}/{origin.timestamp_ms}"
    return f"{place}/{sha256(delivery.value).hexdigest()}"


def letter_about(
    delivery: Delivery, error: Exception, *, consumer: str, attempts: int, failed_at: datetime
) -> DeadLetter:
    """The dead letter for a record; its id follows from the record, so a letter sent twice is still one letter."""
    message, size = str(error), len(delivery.value)
    if size > LONGEST_VALUE:
        message = f"[value cut to {LONGEST_VALUE} of {size} bytes] {message}"
    origin = delivery.origin
    return DeadLetter(
        letter_id=uuid5(_NAMESPACE, f"{consumer}/{record_id(delivery)}") if _has_place(delivery) else uuid4(),
        consumer=consumer,
        kind="permanent" if kind_of(error) == "permanent" else "unknown",
        error_class=type(error).__name__,
        message=clean(message, _LONGEST_MESSAGE),
        attempts=attempts,
        origin=origin.model_copy(update={"key": clean(origin.key, _LONGEST_KEY)}) if origin.key else origin,
        value=b64encode(delivery.value[:LONGEST_VALUE]).decode(),
        failed_at=failed_at,
        **hints(delivery.value),
    )


def clean(text: str, limit: int) -> str:
    """Text that every store and terminal takes: no lone surrogates, no NUL, at most `limit` characters."""
    cut = text[:limit]
    if cut.isascii() and "\x00" not in cut:
        return cut
    return cut.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")[:limit]


def hints(value: bytes) -> dict[str, Any]:
    """What the record says about itself, as far as it can be read; nothing of it is checked."""
    try:
        envelope = read_envelope(value)
    except UnreadableRecordError:
        return {}
    data = envelope.get("data")
    fields = data if isinstance(data, dict) else {}
    user_id = fields.get("user_id")
    return {
        "event_id": _word(fields.get("event_id") or envelope.get("id")),
        "event_type": _word(fields.get("event_type") or envelope.get("type")),
        "correlation_id": _word(fields.get("correlation_id")),
        "user_id": user_id if type(user_id) is int and 0 < user_id < LARGEST_ID else None,
    }


def _word(value: Any) -> str | None:
    return clean(value, _LONGEST_WORD) if isinstance(value, str) and value else None


def _has_place(delivery: Delivery) -> bool:
    return delivery.origin.partition is not None and delivery.origin.offset is not None


def _message_key(delivery: Delivery) -> str | None:
    # The key travels in a URL; the letter's data keeps a long one.
    key = delivery.origin.key
    return key if key and len(key) <= _LONGEST_WORD else None
