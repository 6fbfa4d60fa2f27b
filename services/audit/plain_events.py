"""Events as nearly all of them are: read by shapes so narrow that whatever fits is sound.

The models take four times as long. What does not fit here is theirs to judge, so these shapes may refuse anything, but
may take nothing that the models refuse: no field that is not known, no number, text or time out of its bounds.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal, NamedTuple
from uuid import UUID

from msgspec import DecodeError, Meta, Raw, Struct, json

from todoctl.core.events import REMINDERS, TASK_EVENTS, TASK_UPDATES

_Id = Annotated[int, Meta(ge=1, le=2**63 - 1)]
_Aware = Annotated[datetime, Meta(tz=True)]
_Wall = Annotated[datetime, Meta(tz=False)]
_Small = Annotated[int, Meta(ge=-(2**31), lt=2**31)]


class _Shape(Struct, forbid_unknown_fields=True, gc=False):
    pass


class PlainSeries(_Shape):
    """Where a task stands in its series."""

    series_id: _Id
    rule: dict[str, str | _Small | bool | list[str] | None]
    zone: str
    anchor: _Wall
    due_local: _Wall
    index: Annotated[int, Meta(ge=1, lt=2**31)]


class PlainTask(_Shape):
    """A task after a change."""

    id: _Id
    user_id: _Id
    title: str
    status: Literal["open", "completed", "deleted"]
    version: _Id
    created_at: _Aware
    updated_at: _Aware
    description: str = ""
    priority: Literal["low", "medium", "high", "urgent"] = "medium"
    tags: list[str] = []
    due_date: _Aware | None = None
    reminder_offset: str | None = None
    parent_task_id: _Id | None = None
    series: PlainSeries | None = None
    completed_at: _Aware | None = None

    def moments(self) -> tuple[datetime | None, ...]:
        """All its times with a zone."""
        return self.created_at, self.updated_at, self.due_date, self.completed_at


class PlainChange(_Shape):
    """The payload of everything that happens to tasks."""

    task: PlainTask
    changed: list[str] = []

    def moments(self) -> tuple[datetime | None, ...]:
        """All its times with a zone."""
        return self.task.moments()


class PlainReminder(_Shape):
    """A reminder's payload."""

    reminder_id: _Id
    trigger_at: _Aware
    due_date: _Aware
    title: str
    description: str = ""
    message_id: str | None = None
    reason: str | None = None

    def moments(self) -> tuple[datetime | None, ...]:
        """All its times with a zone."""
        return self.trigger_at, self.due_date


class _Event(_Shape):
    schema_version: Literal["1.0"]
    event_id: UUID
    user_id: _Id
    task_id: _Id
    user_seq: _Id
    version: _Id
    # Further digits than microseconds have are cut off by the models and rounded here, so here it stays text.
    occurred_at: str
    correlation_id: str


class PlainTaskEvent(_Event):
    """Something happened to a task."""

    event_type: Literal["task.created", "task.updated", "task.completed", "task.reopened", "task.deleted"]
    payload: PlainChange


class PlainReminderEvent(_Event):
    """A reminder is due, or what came of it."""

    event_type: Literal["reminder.due", "reminder.sent", "reminder.failed", "reminder.unknown"]
    payload: PlainReminder


class PlainTaskUpdateEvent(_Event):
    """A task's new state."""

    event_type: Literal["task.sync"]
    payload: PlainChange


class _Envelope(_Shape):
    """The attributes that `to_cloud_event` writes and those that daprd adds."""

    data: Raw
    specversion: str = ""
    id: str = ""
    type: str = ""
    source: str = ""
    subject: str = ""
    time: str = ""
    datacontenttype: str = ""
    pubsubname: str = ""
    topic: str = ""
    traceid: str = ""
    traceparent: str = ""
    tracestate: str = ""


AnyPlainEvent = PlainTaskEvent | PlainReminderEvent | PlainTaskUpdateEvent


class PlainEvent(NamedTuple):
    """An event, when it happened, and its data as it was written."""

    event: AnyPlainEvent
    occurred_at: datetime
    details: str


_ENVELOPE = json.Decoder(_Envelope)
_EVENTS: dict[str, json.Decoder[Any]] = {
    TASK_EVENTS: json.Decoder(PlainTaskEvent),
    REMINDERS: json.Decoder(PlainReminderEvent),
    TASK_UPDATES: json.Decoder(PlainTaskUpdateEvent),
}


def plain_event(value: bytes, topic: str) -> PlainEvent | None:
    """The event of a record from `topic`, or None when the models have to look at it."""
    try:
        data = _ENVELOPE.decode(value).data
        event = _EVENTS[topic].decode(data)
        occurred_at = datetime.fromisoformat(event.occurred_at)
        details = str(data, "utf-8")
    except (DecodeError, ValueError, KeyError, RecursionError):
        return None
    # As pydantic and Python write it, in UTC: no other form of ISO 8601 is worth a thought.
    if occurred_at.tzinfo is not UTC or occurred_at.isoformat() != event.occurred_at.replace("Z", "+00:00"):
        return None
    for moment in event.payload.moments():
        # At the calendar's ends a time has no place in another zone.
        if moment is not None and not 1 < moment.year < 9999:
            return None
    return PlainEvent(event, occurred_at, details)
