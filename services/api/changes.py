"""What one write says to the world: its change and its events, ready to be stored."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from services.api.fields import format_duration
from services.api.models import Task
from services.api.store import Row
from todoctl.core.events import (
    TASK_EVENTS,
    TASK_UPDATES,
    Event,
    SeriesSnapshot,
    TaskChange,
    TaskEvent,
    TaskSnapshot,
    TaskUpdateEvent,
    partition_key,
    to_cloud_event,
)

SOURCE = "/todo/api"

EventType = Literal["task.created", "task.updated", "task.completed", "task.reopened", "task.deleted"]


@dataclass(frozen=True, slots=True)
class Cause:
    """What happened, when, as which of the user's changes, and because of which request."""

    event_type: EventType
    changed: tuple[str, ...]
    user_seq: int
    occurred_at: datetime
    correlation_id: str


def snapshot(task: Task) -> TaskSnapshot:
    """The task as events carry it."""
    return TaskSnapshot(
        id=task.id,
        user_id=task.user_id,
        title=task.title,
        description=task.description,
        status=task.status,
        priority=task.priority,
        tags=tuple(task.tags),
        due_date=task.due_date,
        reminder_offset=None if task.reminder_offset is None else format_duration(task.reminder_offset),
        parent_task_id=task.parent_task_id,
        series=_series(task),
        version=task.version,
        created_at=task.created_at,
        updated_at=task.updated_at,
        completed_at=task.completed_at,
    )


def told(task: Task, cause: Cause) -> Row:
    """The parameters of `store.tell`: what clients that catch up will read, and an event for each topic that hears."""
    events = [
        {"topic": topic, "envelope": to_cloud_event(event, source=SOURCE)}
        for topic, event in _events(task, cause).items()
    ]
    return {
        "user_id": task.user_id,
        "user_seq": cause.user_seq,
        "task_id": task.id,
        "version": task.version,
        "event_type": cause.event_type,
        "changed": list(cause.changed),
        "occurred_at": cause.occurred_at,
        "key": partition_key(task.user_id),
        "events": json.dumps(events),
    }


def _events(task: Task, cause: Cause) -> dict[str, Event]:
    common: dict[str, Any] = {
        "user_id": task.user_id,
        "task_id": task.id,
        "user_seq": cause.user_seq,
        "version": task.version,
        "occurred_at": cause.occurred_at,
        "correlation_id": cause.correlation_id,
        "payload": TaskChange(task=snapshot(task), changed=cause.changed),
    }
    return {
        TASK_EVENTS: TaskEvent(event_type=cause.event_type, **common),
        TASK_UPDATES: TaskUpdateEvent(event_type="task.sync", **common),
    }


def _series(task: Task) -> SeriesSnapshot | None:
    if task.series is None or task.due_local is None or task.occurrence is None:
        return None
    return SeriesSnapshot(
        series_id=task.series.id,
        rule=task.series.rule,
        zone=task.series.zone,
        anchor=task.series.anchor,
        due_local=task.due_local,
        index=task.occurrence,
    )
