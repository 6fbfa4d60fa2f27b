"""What follows from an event: the next occurrence, or nothing, or a reason why it can't be told."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.api.schemas import NextOccurrence
from services.common.delivery import AnyEvent
from services.common.verdicts import InvalidEventError
from services.recurring.handlers import is_refusal, successor_of
from tests.unit.services.records import MOMENT, event, series, task
from todoctl.core.events import SeriesSnapshot, TaskChange, TaskEvent


def completed(snapshot: SeriesSnapshot | None, *, due_date: datetime | None = MOMENT, **changes: Any) -> TaskEvent:
    """The completion of a task that stands so in its series."""
    change = TaskChange(task=task(series=snapshot, due_date=due_date))
    made = event("task-events", payload=change, **changes)
    assert isinstance(made, TaskEvent)
    return made


def test_the_order_has_everything_api_needs() -> None:
    """The task that follows, and what it follows from; due times as wall time and as instant."""
    made = completed(series())
    successor = successor_of(made)
    assert successor is not None
    assert successor.series_id == 5
    assert successor.body == {
        "predecessor_task_id": 41,
        "user_id": 7,
        "series_id": 5,
        "due_local": "2030-02-28T10:00:00",
        "due_date": "2030-02-28T09:00:00+00:00",
        "index": 2,
        "occurred_at": "2030-01-31T09:00:00+00:00",
        "correlation_id": "request-1",
        "causation_event_id": str(made.event_id),
    }
    json.dumps(successor.body)


def test_api_understands_the_order() -> None:
    """The order is one that api's own model takes, with everything in it."""
    successor = successor_of(completed(series()))
    assert successor is not None
    order = NextOccurrence.model_validate(successor.body)
    assert order.model_fields_set == set(successor.body)
    assert (order.predecessor_task_id, order.index, order.correlation_id) == (41, 2, "request-1")
    assert order.due_date == datetime(2030, 2, 28, 9, tzinfo=UTC)


def test_a_redelivery_years_later_orders_the_same_task() -> None:
    """Now is when the task was completed, not when the event is read: the task of 2020 follows, however late it is."""
    due = datetime(2020, 1, 31, 9, tzinfo=UTC)
    wall = due.replace(tzinfo=None) + timedelta(hours=1)
    snapshot = series(anchor=wall, due_local=wall)
    for late, due_local in ((timedelta(hours=1), "2020-02-29T10:00:00"), (timedelta(days=40), "2020-03-31T10:00:00")):
        successor = successor_of(completed(snapshot, due_date=due, occurred_at=due + late))
        assert successor is not None
        assert successor.body["due_local"] == due_local


@pytest.mark.parametrize(
    ("occurred_at", "due_local"),
    [
        (MOMENT - timedelta(days=10), "2030-02-28T10:00:00"),
        (MOMENT + timedelta(days=40), "2030-03-31T10:00:00"),
        (MOMENT + timedelta(days=3650), "2040-01-31T10:00:00"),
    ],
    ids=["early", "late", "years late"],
)
def test_the_anchor_day_stays(occurred_at: datetime, due_local: str) -> None:
    """Early gives the next after due, late the next after now; the 31st comes back after February."""
    successor = successor_of(completed(series(), occurred_at=occurred_at))
    assert successor is not None
    assert successor.body["due_local"] == due_local


def test_a_task_whose_due_date_was_moved_counts_from_where_it_is() -> None:
    """The schedule stays; only an occurrence after the moved due date follows."""
    successor = successor_of(completed(series(), due_date=MOMENT + timedelta(days=35)))
    assert successor is not None
    assert successor.body["due_local"] == "2030-03-31T10:00:00"


def test_without_a_due_date_the_place_in_the_series_counts() -> None:
    """An event without the due date is still enough."""
    with_date, without = (successor_of(completed(series(), due_date=due)) for due in (MOMENT, None))
    assert with_date is not None
    assert without is not None
    assert with_date.body["due_date"] == without.body["due_date"]


@pytest.mark.parametrize(
    "made",
    [
        event("task-events", event_type="task.created"),
        event("task-events", event_type="task.updated"),
        event("task-events", event_type="task.reopened"),
        event("task-events", event_type="task.deleted"),
        event("reminders"),
        event("task-updates"),
        completed(None),
        completed(series(rule={"frequency": "monthly", "count": 1})),
        completed(series(rule={"frequency": "daily", "until": "2030-01-31"})),
        completed(series(rule={"frequency": "monthly"}), occurred_at=datetime(9999, 12, 31, 20, tzinfo=UTC)),
    ],
    ids=lambda made: made.event_type if isinstance(made, TaskEvent) else type(made).__name__,
)
def test_nothing_follows(made: AnyEvent) -> None:
    """From other events, tasks without a series, and series that have ended."""
    assert successor_of(made) is None


_BAD_SERIES: dict[str, dict[str, Any]] = {
    "an unknown zone": {"zone": "Mars/Olympus"},
    "a path as zone": {"zone": "../../etc/passwd"},
    "no zone": {"zone": ""},
    "an unknown frequency": {"rule": {"frequency": "hourly"}},
    "an empty rule": {"rule": {}},
    "a rule with more": {"rule": {"frequency": "daily", "evil": True}},
    "an endless interval": {"rule": {"frequency": "daily", "interval": 10**30}},
    "a zero interval": {"rule": {"frequency": "daily", "interval": 0}},
    "days of a monthly rule": {"rule": {"frequency": "monthly", "days_of_week": ["mon"]}},
}


@pytest.mark.parametrize("name", _BAD_SERIES)
def test_a_series_that_cannot_be_computed_is_permanent(name: str) -> None:
    """The event is at fault, and the error says where."""
    with pytest.raises(InvalidEventError, match=r"^series"):
        successor_of(completed(series(**_BAD_SERIES[name])))


_WALL_TIMES = st.datetimes()
_RULES = st.fixed_dictionaries(
    {"frequency": st.sampled_from(["daily", "weekly", "monthly", "never"])},
    optional={
        "interval": st.integers(-1, 1001),
        "days_of_week": st.lists(st.sampled_from(["mon", "sun", "someday"]), max_size=3),
        "day_of_month": st.integers(0, 32),
        "until": st.sampled_from(["2030-01-31", "0001-01-01", "9999-12-31T23:59", "soon"]),
        "count": st.integers(0, 10_000),
        "basis": st.sampled_from(["schedule", "completion", "whim"]),
    },
)


@given(
    rule=_RULES,
    anchor=_WALL_TIMES,
    due_local=_WALL_TIMES,
    occurred_at=st.datetimes(timezones=st.just(UTC)),
    zone=st.sampled_from(["UTC", "Europe/Berlin", "Pacific/Apia", "Asia/Kathmandu", "Nowhere"]),
    index=st.integers(1, 10_000),
    has_due_date=st.booleans(),
)
def test_any_series_is_computed_or_refused(
    rule: dict[str, Any],
    anchor: datetime,
    due_local: datetime,
    occurred_at: datetime,
    zone: str,
    index: int,
    *,
    has_due_date: bool,
) -> None:
    """From the year 1 to 9999 there is an answer or a reason, never a surprise."""
    place = series(rule=rule, anchor=anchor, due_local=due_local, zone=zone, index=index)
    try:
        successor = successor_of(completed(place, due_date=MOMENT if has_due_date else None, occurred_at=occurred_at))
    except InvalidEventError:
        return
    assert successor is None or successor.body["index"] == index + 1


@pytest.mark.parametrize(("status", "refused"), [(400, True), (404, True), (409, True), (422, True), (413, True)])
def test_answers_that_refuse_the_order(status: int, *, refused: bool) -> None:
    """The same order would be refused again."""
    assert is_refusal(status) is refused


@pytest.mark.parametrize("status", [401, 403, 407, 408, 425, 429, 500, 502, 503, 504, 301])
def test_answers_that_are_not_about_the_order(status: int) -> None:
    """A token being rotated, a limit, a crash: the event waits."""
    assert not is_refusal(status)
