"""Decisions about tasks, without a database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.api import handlers
from services.api.handlers import InvalidFieldError
from services.api.models import Task
from services.api.schemas import NewTask, TaskEdit

NOW = datetime(2030, 1, 31, 12, 0, tzinfo=UTC)
DUE = datetime(2030, 3, 1, 8, 0, tzinfo=UTC)
DAILY = {"frequency": "daily"}


def _task(**fields: Any) -> Task:
    wanted = NewTask.model_validate({"title": "a", "due_date": DUE, **fields})
    return handlers.create(wanted, user_id=7, user_zone="Europe/Berlin", now=NOW)


def _edit(task: Task, now: datetime = NOW, **fields: Any) -> tuple[str, ...]:
    return handlers.edit(task, TaskEdit.model_validate(fields), now)


def _reminder(task: Task) -> tuple[str, datetime] | None:
    return None if task.reminder is None else (task.reminder.state, task.reminder.trigger_at)


def test_a_series_begins_at_the_wall_time_of_the_first_task() -> None:
    """The anchor is the due date as a clock in the task's zone shows it."""
    task = _task(recurrence_rule=DAILY)
    assert task.series is not None
    assert (task.zone, task.series.anchor.isoformat()) == ("Europe/Berlin", "2030-03-01T09:00:00")
    assert (task.due_local, task.occurrence, task.series.state.last_index) == (task.series.anchor, 1, 1)


def test_moving_one_task_leaves_its_series_alone() -> None:
    """Another due date keeps series, place and index."""
    task = _task(recurrence_rule=DAILY)
    series, place = task.series, task.due_local
    assert _edit(task, due_date=DUE + timedelta(hours=3)) == ("due_date",)
    assert (task.series, task.due_local, task.occurrence) == (series, place, 1)


@pytest.mark.parametrize("change", [{"recurrence_rule": {"frequency": "weekly"}}, {"zone": "Asia/Tokyo"}])
def test_another_rule_or_zone_begins_a_new_series(change: dict[str, Any]) -> None:
    """From this task on; the old series keeps its rule."""
    task = _task(recurrence_rule=DAILY)
    old = task.series
    assert _edit(task, **change) == tuple(change)
    assert task.series is not old
    assert old is not None
    assert old.rule["frequency"] == "daily"
    assert task.occurrence == 1


def test_the_same_rule_in_other_words_is_no_change() -> None:
    """Values left to their defaults equal the defaults."""
    task = _task(recurrence_rule=DAILY)
    series = task.series
    assert _edit(task, recurrence_rule={**DAILY, "interval": 1}, zone="Europe/Berlin", tags=[], title=" a ") == ()
    assert (task.series, task.version) == (series, 1)


def test_clearing_the_rule_ends_the_series_for_this_task() -> None:
    """Without a rule the task has no place in a series."""
    task = _task(recurrence_rule=DAILY)
    assert _edit(task, recurrence_rule=None, due_date=None) == ("due_date", "recurrence_rule")
    assert (task.series, task.recurrence_rule, task.due_local, task.occurrence) == (None, None, None, None)


@pytest.mark.parametrize(
    ("start", "change", "field"),
    [
        ({"recurrence_rule": DAILY}, {"due_date": None}, "due_date"),
        ({}, {"due_date": "2030-01-31T12:00:00Z"}, "due_date"),
        ({"due_date": None}, {"recurrence_rule": DAILY}, "recurrence_rule"),
        ({"due_date": None}, {"reminder_offset": "PT5M"}, "reminder_offset"),
        ({}, {"due_date": None, "reminder_offset": "PT5M"}, "reminder_offset"),
        ({}, {"recurrence_rule": {**DAILY, "until": "2030-02-01"}}, "recurrence_rule.until"),
    ],
)
def test_fields_that_do_not_go_together_are_refused(start: dict[str, Any], change: dict[str, Any], field: str) -> None:
    """The refusal names the field to mend."""
    with pytest.raises(InvalidFieldError) as refused:
        _edit(_task(**start), **change)
    assert refused.value.field == field


def test_a_task_that_is_overdue_can_still_be_edited() -> None:
    """Only a due date that is given must lie ahead."""
    task = _task()
    assert _edit(task, DUE + timedelta(days=1), title="b") == ("title",)


def test_the_reminder_follows_the_task() -> None:
    """It is set, moved, cancelled and set again with due date, offset and status."""
    task = _task(reminder_offset="PT1H")
    assert _reminder(task) == ("scheduled", DUE - timedelta(hours=1))
    _edit(task, due_date=DUE + timedelta(days=1))
    assert _reminder(task) == ("scheduled", DUE + timedelta(hours=23))
    handlers.complete(task, NOW)
    assert _reminder(task) == ("cancelled", DUE + timedelta(hours=23))
    handlers.reopen(task, NOW)
    assert _reminder(task) == ("scheduled", DUE + timedelta(hours=23))
    assert _edit(task, due_date=None) == ("due_date", "reminder_offset")
    assert task.reminder is not None
    assert task.reminder.state == "cancelled"
    _edit(task, due_date=DUE, reminder_offset="PT2H")
    assert _reminder(task) == ("scheduled", DUE - timedelta(hours=2))
    handlers.delete(task, NOW)
    assert task.reminder.state == "cancelled"


def test_a_reminder_whose_moment_has_passed_is_due_while_the_task_is_not() -> None:
    """Set too late for its offset it fires at once; after the due date it is skipped."""
    task = _task(reminder_offset="P60D")
    assert _reminder(task) == ("scheduled", DUE - timedelta(days=60))
    handlers.complete(task, NOW)
    handlers.reopen(task, DUE)
    assert task.reminder is not None
    assert task.reminder.state == "skipped"


def test_a_skipped_reminder_counts_again_when_the_due_date_lies_ahead() -> None:
    """Also where a later due date and a longer offset lead to the very moment that was skipped."""
    task = _task(reminder_offset="PT1H")
    handlers.complete(task, NOW)
    handlers.reopen(task, DUE)
    assert _reminder(task) == ("skipped", DUE - timedelta(hours=1))
    _edit(task, DUE, due_date=DUE + timedelta(hours=1), reminder_offset="PT2H")
    assert _reminder(task) == ("scheduled", DUE - timedelta(hours=1))


def test_a_reminder_that_has_fired_comes_again_only_at_another_moment() -> None:
    """Reopening and retitling repeat nothing; a moved due date does."""
    task = _task(reminder_offset="PT1H")
    assert task.reminder is not None
    task.reminder.state = "fired"
    handlers.complete(task, NOW)
    handlers.reopen(task, NOW)
    _edit(task, title="b")
    assert task.reminder.state == "fired"
    _edit(task, due_date=DUE + timedelta(days=1))
    assert task.reminder.state == "scheduled"
