"""What each command does to a task, decided without a database: new values in place, changed fields returned."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from services.api.models import RecurringTaskState, Reminder, Series, Task
from services.api.schemas import NewTask, NextOccurrence, TaskEdit
from todoctl.core.recurrence import RecurrenceRule, first_occurrence, to_local

# What the user wrote and a successor takes over.
_WRITTEN = ("title", "description", "priority", "reminder_offset")


class InvalidFieldError(ValueError):
    """A field's value doesn't fit the task's other fields or the present moment."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message


def create(wanted: NewTask, *, user_id: int, user_zone: str, now: datetime) -> Task:
    """The task that a client asked for, not yet stored."""
    fields = {name: getattr(wanted, name) for name in (*_WRITTEN, "due_date")}
    task = Task(
        **fields, tags=list(wanted.tags), user_id=user_id, zone=wanted.zone or user_zone, status="open", version=1
    )
    task.created_at = task.updated_at = now
    task.reminder = None
    _check_due(task, wanted.model_fields_set, now)
    _repeat(task, wanted.recurrence_rule, now)
    settle_reminder(task, now)
    return task


def edit(task: Task, wanted: TaskEdit, now: datetime) -> tuple[str, ...]:
    """Give the task its new values; the names of the fields that differ, none if nothing does."""
    rule = _rule(task)
    given = _with_consequences(task, wanted.fields)
    changed = [name for name, value in given.items() if name != "recurrence_rule" and getattr(task, name) != value]
    for name in changed:
        setattr(task, name, given[name])
    _check_due(task, changed, now)
    new_rule = given.get("recurrence_rule", rule)
    if new_rule != rule:
        changed.append("recurrence_rule")
    # Moving one task leaves its series alone; another rule or zone begins a new one from here.
    if new_rule != rule or (rule is not None and "zone" in changed):
        _repeat(task, new_rule, now)
    elif new_rule is not None and task.due_date is None:
        raise InvalidFieldError("due_date", "a recurring task needs a due date; clear recurrence_rule with it")
    return _touch(task, changed, now)


def complete(task: Task, now: datetime) -> tuple[str, ...]:
    """Mark an open task as done; a task that is done stays as it is."""
    if task.status == "completed":
        return ()
    task.status, task.completed_at = "completed", now
    return _touch(task, ["status", "completed_at"], now)


def reopen(task: Task, now: datetime) -> tuple[str, ...]:
    """Mark a completed task as open again; the successor that it may have stays."""
    if task.status == "open":
        return ()
    task.status, task.completed_at = "open", None
    return _touch(task, ["status", "completed_at"], now)


def delete(task: Task, now: datetime) -> tuple[str, ...]:
    """Take the task out of its owner's sight; the row stays, so that it never gets a second successor."""
    task.status = "deleted"
    return _touch(task, ["status"], now)


def succeed(predecessor: Task, series: Series, order: NextOccurrence, now: datetime) -> Task:
    """The next task of a series; what the user wrote comes from the predecessor as it is now."""
    inherited = {name: getattr(predecessor, name) for name in (*_WRITTEN, "user_id")}
    task = Task(
        **inherited,
        tags=list(predecessor.tags),
        status="open",
        due_date=order.due_date,
        zone=series.zone,
        series=series,
        recurrence_rule=series.rule,
        due_local=order.due_local,
        occurrence=order.index,
        parent_task_id=predecessor.id,
        version=1,
        created_at=now,
        updated_at=now,
    )
    task.reminder = None
    settle_reminder(task, now)
    return task


def settle_reminder(task: Task, now: datetime) -> None:
    """Bring the task's reminder in line with it.

    One whose moment had passed when it was set is due at once while the due date lies ahead, and skipped after it.
    A reminder that has fired comes again only at another moment.
    """
    reminder = task.reminder
    if task.status != "open" or task.due_date is None or task.reminder_offset is None:
        if reminder is not None and reminder.state == "scheduled":
            reminder.state = "cancelled"
        return
    trigger_at = task.due_date - task.reminder_offset
    if reminder is None:
        reminder = task.reminder = Reminder(user_id=task.user_id, state="cancelled", trigger_at=trigger_at)
    if reminder.state in {"cancelled", "skipped"} or reminder.trigger_at != trigger_at:
        reminder.state = "scheduled" if task.due_date > now else "skipped"
    reminder.trigger_at, reminder.due_date = trigger_at, task.due_date


def _touch(task: Task, changed: list[str], now: datetime) -> tuple[str, ...]:
    if changed:
        task.version += 1
        task.updated_at = now
        settle_reminder(task, now)
    return tuple(sorted(changed))


def _with_consequences(task: Task, given: dict[str, Any]) -> dict[str, Any]:
    """The given fields as the task stores them; clearing the due date takes the reminder with it."""
    fields = dict(given)
    if "tags" in fields:
        fields["tags"] = list(fields["tags"])
    if fields.get("due_date", task.due_date) is None:
        fields.setdefault("reminder_offset", None)
    return fields


def _check_due(task: Task, given: Collection[str], now: datetime) -> None:
    if task.due_date is not None and "due_date" in given and task.due_date <= now:
        raise InvalidFieldError("due_date", "must be in the future")
    if task.due_date is None and task.reminder_offset is not None:
        raise InvalidFieldError("reminder_offset", "a reminder needs a due date")


def _rule(task: Task) -> RecurrenceRule | None:
    return RecurrenceRule.model_validate(task.recurrence_rule) if task.recurrence_rule else None


def _repeat(task: Task, rule: RecurrenceRule | None, now: datetime) -> None:
    """Begin a new series at this task, or none."""
    task.series = None
    task.recurrence_rule = task.due_local = task.occurrence = None
    if rule is None:
        return
    if task.due_date is None:
        raise InvalidFieldError("recurrence_rule", "a recurring task needs a due date")
    anchor = to_local(task.due_date, task.zone)
    try:
        first_occurrence(rule, anchor=anchor, zone=task.zone)
    except ValueError as exc:
        raise InvalidFieldError("recurrence_rule.until", str(exc)) from exc
    task.recurrence_rule = rule.model_dump(mode="json", exclude_none=True)
    task.due_local, task.occurrence = anchor, 1
    task.series = Series(
        user_id=task.user_id,
        rule=task.recurrence_rule,
        zone=task.zone,
        anchor=anchor,
        created_at=now,
        state=RecurringTaskState(last_index=1),
    )
