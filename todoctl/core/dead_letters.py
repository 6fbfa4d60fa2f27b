"""A dead letter: a record that a consumer could not process, with the reason and where it came from."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID, uuid4

from pydantic import Field

from todoctl.core.events import SCHEMA_VERSION, Payload, Utc

FailureKind = Literal["permanent", "unknown"]


class Origin(Payload):
    """Where the record lay; `key` is its message key as text, None where it had none."""

    topic: str
    partition: int | None = None
    offset: int | None = None
    key: str | None = None
    timestamp_ms: int | None = None


class DeadLetter(Payload):
    """Data of a record on dlq-events; `value` holds the original bytes in base64."""

    schema_version: str = SCHEMA_VERSION
    letter_id: UUID = Field(default_factory=uuid4)
    consumer: str
    kind: FailureKind
    error_class: str
    message: str
    attempts: int
    origin: Origin
    value: str
    event_id: str | None = None
    event_type: str | None = None
    user_id: int | None = None
    correlation_id: str | None = None
    failed_at: Utc


def to_cloud_event(letter: DeadLetter) -> dict[str, Any]:
    """The CloudEvents 1.0 JSON envelope around a dead letter; `id` is the letter's own id."""
    return {
        "specversion": "1.0",
        "id": str(letter.letter_id),
        "type": "dead-letter",
        "source": f"/todo/{letter.consumer}",
        "time": letter.failed_at.isoformat(),
        "datacontenttype": "application/json",
        "data": letter.model_dump(mode="json"),
    }
