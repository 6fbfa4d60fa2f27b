"""What follows when a recurring task is completed: decided from the event alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from services.common.delivery import AnyEvent
from services.common.verdicts import InvalidEventError
from todoctl.core.events import SeriesSnapshot, TaskEvent, TaskSnapshot
from todoctl.core.recurrence import Occurrence, RecurrenceRule, next_occurrence, to_utc

CREATED = frozenset({200, 201})

# About this deployment or this moment, not about the event: a token being rotated, a limit, a gateway.
_NOT_THE_EVENTS_FAULT = frozenset({401, 403, 407, 408, 425, 429})


@dataclass(frozen=True, slots=True)
class Successor:
    """The order for a task that follows a completed one."""

    series_id: int
    body: dict[str, Any]


def successor_of(event: AnyEvent) -> Successor | None:
    """The task to create because of an event; None when nothing follows from it.

    "Now" is the event's `occurred_at`, so a replay years later orders the same task.

    Raises:
        InvalidEventError: the event's series is not one that can be computed.
    """
    if not isinstance(event, TaskEvent) or event.event_type != "task.completed":
        return None
    task = event.payload.task
    if task.series is None:
        return None
    following = _next(task, task.series, event.occurred_at)
    if following is None:
        return None
    return Successor(series_id=task.series.series_id, body=_order(event, task.series, following))


def is_refusal(status: int) -> bool:
    """Whether api's answer means that this order will never be accepted."""
    return 400 <= status < 500 and status not in _NOT_THE_EVENTS_FAULT


def _next(task: TaskSnapshot, series: SeriesSnapshot, occurred_at: datetime) -> Occurrence | None:
    try:
        due = task.due_date or to_utc(series.due_local, series.zone)
        return next_occurrence(
            RecurrenceRule.model_validate(series.rule),
            anchor=series.anchor,
            zone=series.zone,
            completed=Occurrence(nominal=series.due_local, due=due, index=series.index),
            occurred_at=occurred_at,
        )
    except ValidationError as exc:
        raise InvalidEventError(f"series.rule: {exc.errors(include_url=False, include_input=False)[0]['msg']}") from exc
    except ValueError as exc:
        raise InvalidEventError(f"series: {exc}") from exc


def _order(event: TaskEvent, series: SeriesSnapshot, following: Occurrence) -> dict[str, Any]:
    return {
        "predecessor_task_id": event.task_id,
        "user_id": event.user_id,
        "series_id": series.series_id,
        "due_local": following.nominal.isoformat(),
        "due_date": following.due.isoformat(),
        "index": following.index,
        "occurred_at": event.occurred_at.isoformat(),
        "correlation_id": event.correlation_id,
        "causation_event_id": str(event.event_id),
    }
