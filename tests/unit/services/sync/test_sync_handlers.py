"""A connection's place: whatever the order of deliveries and pages, each number once, rising, none left out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.sync.handlers import NOWHERE, Cursor, Page, Update, cursor_of, live, page_of, stale
from tests.unit.services.records import event, series, task
from todoctl.core.events import TaskChange, TaskUpdateEvent


def update(user_seq: int) -> Update:
    """An update that is nothing but its number."""
    return Update(user_seq, {"user_seq": user_seq})


def page(*numbers: int, cursor: int, is_last: bool = True, is_resync: bool = False) -> Page:
    """A page with these changes."""
    return Page(tuple(update(number) for number in numbers), cursor, is_last, is_resync)


def numbers(updates: tuple[Update, ...]) -> list[int]:
    """Their numbers, in their order."""
    return [item.user_seq for item in updates]


def test_the_next_update_is_sent_at_once() -> None:
    """In order nothing waits."""
    cursor = Cursor(3)
    assert numbers(cursor.offer(update(4))) == [4]
    assert (cursor.position, cursor.is_behind) == (4, False)


def test_an_update_that_was_sent_is_not_sent_again() -> None:
    """Redeliveries and replays are dropped."""
    cursor = Cursor(3)
    assert [numbers(cursor.offer(update(number))) for number in (3, 1, 4, 4)] == [[], [], [4], []]


def test_a_gap_holds_back_until_it_is_filled() -> None:
    """A number that came early waits for those before it, and the gap is seen."""
    cursor = Cursor(3)
    assert numbers(cursor.offer(update(5))) == []
    assert cursor.is_behind
    assert numbers(cursor.offer(update(4))) == [4, 5]
    assert not cursor.is_behind


def test_live_updates_wait_while_a_connection_catches_up() -> None:
    """What was missed comes first, then what came meanwhile, without a double."""
    cursor = Cursor(0)
    cursor.start_reading()
    assert numbers(cursor.offer(update(3))) == []
    assert numbers(cursor.read(page(1, 2, cursor=2, is_last=False))) == [1, 2]
    assert cursor.is_reading
    assert numbers(cursor.offer(update(4))) == []
    assert numbers(cursor.read(page(3, cursor=3))) == [3, 4]
    assert (cursor.position, cursor.is_reading) == (4, False)


def test_below_the_floor_it_goes_on_from_the_head() -> None:
    """After a resync what came meanwhile is still sent."""
    cursor = Cursor(NOWHERE)
    cursor.start_reading()
    cursor.offer(update(9))
    cursor.offer(update(10))
    assert numbers(cursor.read(page(cursor=9, is_resync=True))) == [10]


def test_a_place_in_another_database_is_left() -> None:
    """A resync may lead back."""
    cursor = Cursor(900)
    cursor.start_reading()
    cursor.read(page(cursor=4, is_resync=True))
    assert numbers(cursor.offer(update(5))) == [5]


def test_a_number_that_no_change_has_is_passed() -> None:
    """The last page leads past it, so that nobody reads for ever."""
    cursor = Cursor(4)
    cursor.offer(update(6))
    cursor.start_reading()
    assert numbers(cursor.read(page(6, cursor=6))) == [6]
    assert not cursor.is_reading


def test_an_update_that_api_does_not_know_is_forgotten() -> None:
    """A forged number can't hold a connection in reading."""
    cursor = Cursor(4)
    cursor.offer(update(10**12))
    cursor.start_reading()
    assert numbers(cursor.read(page(cursor=4))) == []
    assert (cursor.is_reading, cursor.is_behind) == (False, False)
    assert numbers(cursor.offer(update(5))) == [5]


def test_a_flood_is_not_kept_in_memory() -> None:
    """Beyond a bound updates are read from api instead; none is lost."""
    cursor = Cursor(0)
    cursor.start_reading()
    for number in range(1, 1000):
        cursor.offer(update(number))
    assert len(cursor._early) <= 256
    assert numbers(cursor.read(page(cursor=0, is_last=False))) == []
    sent = numbers(cursor.read(page(*range(1, 1000), cursor=999)))
    assert sent == list(range(1, 1000))
    assert not cursor.is_reading


@given(st.data())
def test_any_order_ends_complete(data: st.DataObject) -> None:
    """Deliveries in any order, doubled and interrupted by reading, give every number once, rising."""
    count = data.draw(st.integers(1, 12))
    start = data.draw(st.integers(0, count))
    deliveries = data.draw(st.lists(st.integers(1, count), max_size=30))
    cursor, sent = Cursor(start), []
    for number in deliveries:
        sent += numbers(cursor.offer(update(number)))
        if cursor.is_behind and not cursor.is_reading and data.draw(st.booleans()):
            cursor.start_reading()
        if cursor.is_reading and data.draw(st.booleans()):
            size = data.draw(st.integers(1, 3))
            found = range(cursor.position + 1, min(count, cursor.position + size) + 1)
            last = max(found, default=cursor.position)
            sent += numbers(cursor.read(page(*found, cursor=last, is_last=last == count)))
    cursor.start_reading()
    sent += numbers(cursor.read(page(*range(cursor.position + 1, count + 1), cursor=count)))
    assert sent == list(range(start + 1, count + 1))


def test_stale_are_those_behind_and_those_from_elsewhere() -> None:
    """Who got ahead while api was asked is fine."""
    before = {"behind": 4, "there": 5, "ahead": 5, "elsewhere": 9}
    now = {"behind": 4, "there": 5, "ahead": 6, "elsewhere": 9, "new and behind": 1, "new": 7}
    assert stale(before, now, 5) == ["behind", "elsewhere", "new and behind"]


@pytest.mark.parametrize(
    ("value", "place"),
    [(None, NOWHERE), (0, 0), (7, 7), (2**63 - 1, 2**63 - 1), (2**63, None), (-1, None), (True, None), ("7", None)],
)
def test_a_cursor_is_a_number_or_missing(value: Any, place: int | None) -> None:
    """Anything else is refused."""
    assert cursor_of(value) == place


def test_a_deleted_task_is_a_delete() -> None:
    """Everything else is there to be put in place of what the page has."""
    gone = event("task-updates", payload=TaskChange(task=task(status="deleted"), changed=("status",)))
    assert isinstance(gone, TaskUpdateEvent)
    assert live(gone).message["op"] == "delete"
    there = event("task-updates")
    assert isinstance(there, TaskUpdateEvent)
    assert live(there).message["op"] == "upsert"


def test_live_and_caught_up_messages_have_one_shape() -> None:
    """A page needs to know one form of a task."""
    happened = event("task-updates", payload=TaskChange(task=task(series=series()), changed=("status",)))
    assert isinstance(happened, TaskUpdateEvent)
    view = task().model_dump(mode="json") | {"series_id": 5, "recurrence_rule": {"frequency": "monthly"}, "zone": "UTC"}
    item = {
        "user_seq": 3,
        "event_type": "task.completed",
        "changed": ["status"],
        "occurred_at": happened.occurred_at.isoformat(),
        "task": view,
    }
    read = page_of({"items": [item], "cursor": 3, "head": 3, "resync": False})
    assert read.updates[0].message == live(happened).message
    assert (read.cursor, read.is_last) == (3, True)


@pytest.mark.parametrize("body", [None, [], {}, {"items": [{}], "cursor": 1, "head": 1, "resync": False}, {"items": 1}])
def test_what_is_no_page_is_refused(body: Any) -> None:
    """An answer that can't be read is told as such."""
    with pytest.raises(ValueError, match="not one"):
        page_of(body)
