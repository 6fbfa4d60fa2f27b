"""The events of the platform: what a record on each topic says, and its CloudEvents 1.0 envelope."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, NaiveDatetime, WithJsonSchema

SCHEMA_VERSION = "1.0"
# Major versions that consumers of this code take; before a new one is written, every reader has it here.
READABLE_MAJORS = ("1",)

TASK_EVENTS = "task-events"
REMINDERS = "reminders"
TASK_UPDATES = "task-updates"
DEAD_LETTERS = "dlq-events"

# A record of this CloudEvents type is an operator's look at a subscription: every consumer lets it pass.
PROBE_TYPE = "todoctl.probe"


def _to_utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


Utc = Annotated[AwareDatetime, AfterValidator(_to_utc)]

# JSON numbers have no end; ours are PostgreSQL's bigints.
Id = Annotated[int, Field(ge=1, le=2**63 - 1)]

# A wall time has no offset, so it is no RFC 3339 date-time.
WallTime = Annotated[
    NaiveDatetime, WithJsonSchema({"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,6})?)?$"})
]


class Payload(BaseModel):
    """Data of an event; a field that a newer producer added is ignored by an older consumer."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class SeriesSnapshot(Payload):
    """Where a task stands in its recurring series: the rule, the zone and the wall times that decide what is next.

    `anchor` and `due_local` are wall times in `zone`; `index` counts occurrences from 1.
    """

    series_id: Id
    rule: dict[str, Any]
    zone: str
    anchor: WallTime
    due_local: WallTime
    index: Annotated[int, Field(ge=1)]


class TaskSnapshot(Payload):
    """A task as it was right after the change."""

    id: Id
    user_id: Id
    title: str
    description: str = ""
    status: Literal["open", "completed", "deleted"]
    priority: Literal["low", "medium", "high", "urgent"] = "medium"
    tags: tuple[str, ...] = ()
    due_date: Utc | None = None
    reminder_offset: str | None = None
    parent_task_id: Id | None = None
    series: SeriesSnapshot | None = None
    version: Id
    created_at: Utc
    updated_at: Utc
    completed_at: Utc | None = None


class Event(Payload):
    """What all events carry.

    `user_seq` grows by one with each change of the user's data; events of one change share it.
    `version` is the task's version after the change.
    """

    schema_version: str = SCHEMA_VERSION
    event_id: UUID = Field(default_factory=uuid4)
    event_type: str
    user_id: Id
    task_id: Id
    user_seq: Id
    version: Id
    occurred_at: Utc
    correlation_id: str


class TaskChange(Payload):
    """The task after the change and the names of the fields that the change touched."""

    task: TaskSnapshot
    changed: tuple[str, ...] = ()


class TaskEvent(Event):
    """Something happened to a task (topic task-events)."""

    event_type: Literal["task.created", "task.updated", "task.completed", "task.reopened", "task.deleted"]
    payload: TaskChange


class ReminderDetail(Payload):
    """A reminder: when it was due to be sent, for which due date, and what came of it."""

    reminder_id: Id
    trigger_at: Utc
    due_date: Utc
    title: str
    description: str = ""
    message_id: str | None = None
    reason: str | None = None


class ReminderEvent(Event):
    """A reminder is due, or what came of sending it (topic reminders)."""

    event_type: Literal["reminder.due", "reminder.sent", "reminder.failed", "reminder.unknown"]
    payload: ReminderDetail


class TaskUpdateEvent(Event):
    """A task's new state for the user's open pages (topic task-updates)."""

    event_type: Literal["task.sync"]
    payload: TaskChange


EVENT_MODELS: dict[str, type[TaskEvent | ReminderEvent | TaskUpdateEvent]] = {
    TASK_EVENTS: TaskEvent,
    REMINDERS: ReminderEvent,
    TASK_UPDATES: TaskUpdateEvent,
}


class UnsupportedVersionError(ValueError):
    """The event's major schema version is not one that this code reads."""


def major(version: str) -> str:
    """The major part of `MAJOR.MINOR`."""
    return version.partition(".")[0]


def partition_key(user_id: int) -> str:
    """The Kafka message key: one user's events share a partition."""
    return str(user_id)


def to_cloud_event(event: Event, *, source: str) -> dict[str, Any]:
    """The CloudEvents 1.0 JSON envelope around `event`; `id` is the event's id.

    Source: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md
    """
    return {
        "specversion": "1.0",
        "id": str(event.event_id),
        "type": event.event_type,
        "source": source,
        "subject": f"task/{event.task_id}",
        "time": event.occurred_at.isoformat(),
        "datacontenttype": "application/json",
        "data": event.model_dump(mode="json"),
    }


def parse_event(topic: str, envelope: dict[str, Any]) -> TaskEvent | ReminderEvent | TaskUpdateEvent:
    """The event inside a CloudEvents envelope from `topic`.

    Raises:
        UnsupportedVersionError: the major schema version is not ours.
        ValueError: the data does not fit the topic's model (pydantic's ValidationError is one).
        KeyError: no event is defined for `topic`.
    """
    data = envelope.get("data")
    if not isinstance(data, dict):
        raise ValueError("the envelope has no JSON object as data")
    version = str(data.get("schema_version", ""))
    if major(version) not in READABLE_MAJORS:
        raise UnsupportedVersionError(f"schema_version {version[:20]!r}; this consumer reads {SCHEMA_VERSION}")
    if "event_id" not in data:
        # The default is for whoever writes an event. A reader would draw another one for each delivery, and take the
        # same event for several; the frozen schema of 1.0 can't say that.
        raise ValueError("event_id: Field required")
    return EVENT_MODELS[topic].model_validate(data)
