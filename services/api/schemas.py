"""What clients send and get: the bodies, parameters and answers of the task API."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from services.api.fields import Description, Instant, Offset, Priority, Status, Tag, Tags, Title, Zone
from services.common.moments import Moment
from services.common.numbers import AS_JSON, AS_WRITTEN
from todoctl.core.recurrence import RecurrenceRule

# A bigint's last value; no id, version or cursor lies beyond it.
LARGEST = 2**63 - 1
# JSON Schema's "date-time" demands an offset.
_WALL_TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?$"


def _wall_time(value: object) -> object:
    # pydantic would read a number as seconds, and a date as its midnight.
    if isinstance(value, str) and re.fullmatch(_WALL_TIME, value):
        return value
    raise ValueError("is wall time in the series' zone: a date and a time without an offset")


Id = Annotated[int, Field(ge=1, le=LARGEST), AS_JSON]
_WallTime = Annotated[datetime, BeforeValidator(_wall_time), WithJsonSchema({"type": "string", "pattern": _WALL_TIME})]
Text = Annotated[str, Field(max_length=200, pattern=r"^[^\x00]*$")]

_NEW_TASK: dict[str, Any] = {
    "title": "Water plants",
    "description": "The ones on the balcony, too.",
    "priority": "high",
    "tags": ["home"],
    "due_date": "2030-01-31T09:00:00+01:00",
    "zone": "Europe/Berlin",
    "reminder_offset": "PT30M",
    "recurrence_rule": {"frequency": "weekly", "days_of_week": ["thu"]},
}
_TASK: dict[str, Any] = {
    **_NEW_TASK,
    "due_date": "2030-01-31T08:00:00Z",
    "recurrence_rule": {"frequency": "weekly", "interval": 1, "days_of_week": ["thu"], "basis": "schedule"},
    "id": 41,
    "status": "completed",
    "series_id": 5,
    "occurrence": 2,
    "parent_task_id": 40,
    "version": 2,
    "created_at": "2030-01-24T12:00:00Z",
    "updated_at": "2030-01-30T12:00:00Z",
    "completed_at": "2030-01-30T12:00:00Z",
}


class Body(BaseModel):
    """A request body; a field that clients may not set is refused, not ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _nothing_assumed(schema: dict[str, Any]) -> None:
    """Take defaults out: a generated client that sent them would change what its user left alone."""
    for field in schema["properties"].values():
        field.pop("default", None)


class NewTask(Body):
    """A task to create; `zone` is the user's own where it is left out."""

    model_config = ConfigDict(json_schema_extra={"examples": [_NEW_TASK]})

    title: Title
    description: Description = ""
    priority: Priority = "medium"
    tags: Tags = ()
    due_date: Instant | None = None
    zone: Zone | None = None
    reminder_offset: Offset | None = None
    recurrence_rule: RecurrenceRule | None = None


class TaskEdit(Body):
    """Fields to change; one that is left out stays, null clears one that may be empty."""

    model_config = ConfigDict(json_schema_extra=_nothing_assumed)

    title: Title = ""
    description: Description = ""
    priority: Priority = "medium"
    tags: Tags = ()
    due_date: Instant | None = None
    zone: Zone = "UTC"
    reminder_offset: Offset | None = None
    recurrence_rule: RecurrenceRule | None = None
    version: Annotated[int, Field(ge=1, le=LARGEST), AS_JSON] | None = Field(
        None, description="The version this edit is based on; 409 if the task has another one by now."
    )

    @property
    def fields(self) -> dict[str, Any]:
        """The fields that the client gave, by name."""
        return {name: getattr(self, name) for name in self.model_fields_set if name != "version"}


class NextOccurrence(Body):
    """The occurrence that follows a completed task, as the recurring service computed it from the event."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    predecessor_task_id: Id
    user_id: Id
    series_id: Id
    due_local: _WallTime
    due_date: Instant
    index: Annotated[int, Field(ge=2, le=2**31 - 1), AS_JSON]
    occurred_at: Moment
    correlation_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
    causation_event_id: UUID | None = None


class TaskView(BaseModel):
    """A task as its owner sees it."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"examples": [_TASK]})

    id: int
    title: str
    description: str
    status: Status
    priority: Priority
    tags: tuple[str, ...]
    due_date: AwareDatetime | None
    zone: str
    reminder_offset: Offset | None
    recurrence_rule: dict[str, Any] | None
    series_id: int | None
    occurrence: int | None
    parent_task_id: int | None
    version: int
    created_at: AwareDatetime
    updated_at: AwareDatetime
    completed_at: AwareDatetime | None


class TaskPage(BaseModel):
    """One page of tasks and how many there are in all."""

    items: list[TaskView]
    total: int
    offset: int
    limit: int


class ChangeView(BaseModel):
    """One change of a task, with the task as it is now."""

    user_seq: int
    event_type: str
    changed: tuple[str, ...]
    occurred_at: AwareDatetime
    task: TaskView


class ChangePage(BaseModel):
    """Changes after a cursor; `cursor` is where to go on.

    With `resync` the changes after the cursor are no longer all there: list the tasks and go on from `cursor`.
    """

    items: list[ChangeView]
    cursor: int
    head: int
    resync: bool


class HeadsOf(BaseModel):
    """The users whose last change is asked for."""

    model_config = ConfigDict(extra="forbid")

    user_ids: list[Id] = Field(max_length=1000)


class Heads(BaseModel):
    """User → the number of the user's last change."""

    heads: dict[int, int]


class TaskQuery(BaseModel):
    """Which of the user's tasks to list, in which order; several values of one parameter mean any of them.

    Tags are the exception: a task must have all of them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    q: Text | None = Field(None, description="Part of the title or the description, in any case.")
    status: tuple[Literal["open", "completed"], ...] = Field((), max_length=2)
    priority: tuple[Priority, ...] = Field((), max_length=4)
    tags: tuple[Tag, ...] = Field((), max_length=20)
    due_from: Instant | None = Field(None, description="Due at this instant or later.")
    due_to: Instant | None = Field(None, description="Due before this instant.")
    sort: Literal["created_at", "due_date", "priority"] = "created_at"
    order: Literal["asc", "desc"] = "asc"
    offset: Annotated[int, AS_WRITTEN] = Field(0, ge=0, le=LARGEST)
    limit: Annotated[int, AS_WRITTEN] = Field(50, ge=1, le=200)


class TaskSearch(TaskQuery):
    """A query that must say what to look for."""

    q: Annotated[Text, Field(min_length=1)] = Field(description="Part of the title or the description, in any case.")


class ChangeQuery(BaseModel):
    """From where on to read changes, and how many; a mistyped cursor is refused, or it would read from the beginning."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    since: Annotated[int, Field(ge=0, le=LARGEST), AS_WRITTEN] = 0
    limit: Annotated[int, Field(ge=1, le=500), AS_WRITTEN] = 200


class ReminderStanding(BaseModel):
    """Whether a reminder still stands: not moved, its task still open."""

    current: bool


class FiredReminder(BaseModel):
    """A reminder and the moment that it fired for."""

    model_config = ConfigDict(extra="forbid")

    reminder_id: Id
    trigger_at: Moment


class FiredReminders(BaseModel):
    """Reminders that are about to be sent."""

    model_config = ConfigDict(extra="forbid")

    reminders: list[FiredReminder] = Field(max_length=500)


class ReminderStandings(BaseModel):
    """Whether each of them still stands, in the order in which they were asked for."""

    current: list[bool]
