"""Writes: what one commits, and that it commits all of it or nothing."""

from __future__ import annotations

from datetime import timedelta

import psycopg
import pytest

from tests.unit.services.api.api_server import Api

DUE = "2030-03-01T09:00:00+01:00"
DAILY = {"frequency": "daily"}


async def test_a_write_commits_task_change_events_and_key_together(api: Api) -> None:
    """One request leaves one task, one change, one event per topic and one key, all with the same number."""
    task = await api.create(key="k1", due_date=DUE, recurrence_rule=DAILY, reminder_offset="PT30M")
    (row,) = api.rows("SELECT * FROM api.tasks")
    assert row["id"] == task["id"]
    assert row["version"] == 1
    (change,) = api.rows("SELECT * FROM api.changes")
    assert (change["user_seq"], change["task_id"], change["event_type"]) == (1, task["id"], "task.created")
    events = api.rows("SELECT * FROM api.outbox ORDER BY id")
    assert [(event["topic"], event["user_seq"], event["key"]) for event in events] == [
        ("task-events", 1, "7"),
        ("task-updates", 1, "7"),
    ]
    assert events[0]["event_id"] != events[1]["event_id"]
    assert [api.count(table) for table in ("idempotency_keys", "series", "recurring_task_state", "reminders")] == [
        1
    ] * 4


@pytest.mark.parametrize(
    "table", ["tasks", "series", "changes", "outbox", "idempotency_keys", "user_seqs", "reminders"]
)
async def test_a_write_that_fails_anywhere_leaves_nothing(api: Api, table: str) -> None:
    """Whichever of its statements fails, a write leaves no row in any table."""
    with psycopg.connect(api.todo.admin_url) as link:
        link.execute("CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$")
        link.execute(f"CREATE TRIGGER refuse BEFORE INSERT ON api.{table} EXECUTE FUNCTION refuse()")
    fields = {"title": "a", "due_date": DUE, "recurrence_rule": DAILY, "reminder_offset": "PT30M"}
    response = await api.call("POST", "/api/tasks", key="k1", json=fields)
    assert response.status_code == 500
    tables = (
        "tasks",
        "series",
        "recurring_task_state",
        "reminders",
        "changes",
        "outbox",
        "idempotency_keys",
        "user_seqs",
    )
    assert {table: api.count(table) for table in tables} == dict.fromkeys(tables, 0)


async def test_numbers_of_a_user_grow_by_one_without_gaps(api: Api) -> None:
    """Replays, refused requests and writes that change nothing use up no number."""
    task = await api.create(key="k1")
    await api.create(key="k1")
    await api.do("reopen", task["id"])
    await api.call("PATCH", "/api/tasks/1", json={"due_date": "2001-01-01T00:00:00Z"})
    await api.call("PATCH", f"/api/tasks/{task['id']}", json={"title": "Water plants"})
    await api.do("complete", task["id"])
    await api.create(user=8)
    seqs = api.rows("SELECT user_id, user_seq FROM api.changes ORDER BY user_id, user_seq")
    assert [(row["user_id"], row["user_seq"]) for row in seqs] == [(7, 1), (7, 2), (8, 1)]


async def test_each_command_raises_the_version_and_says_what_changed(api: Api) -> None:
    """Every change has the next version, its own kind of event and the names of the changed fields."""
    task = await api.create(due_date=DUE)
    path = f"/api/tasks/{task['id']}"
    edited = await api.call("PATCH", path, json={"title": "New", "tags": ["b", "a", "b"], "priority": "medium"})
    assert edited.json()["tags"] == ["b", "a"]
    completed = await api.do("complete", task["id"])
    reopened = await api.do("reopen", task["id"])
    assert (completed["status"], reopened["status"]) == ("completed", "open")
    assert completed["completed_at"] is not None
    assert reopened["completed_at"] is None
    assert (await api.call("DELETE", path)).status_code == 204
    rows = api.rows("SELECT version, event_type, changed FROM api.changes ORDER BY user_seq")
    assert [(row["version"], row["event_type"]) for row in rows] == [
        (1, "task.created"),
        (2, "task.updated"),
        (3, "task.completed"),
        (4, "task.reopened"),
        (5, "task.deleted"),
    ]
    assert rows[1]["changed"] == ["tags", "title"]


async def test_completing_twice_changes_nothing_the_second_time(api: Api) -> None:
    """A completed task that is completed again, without any key, is answered as it is, without an event."""
    task = await api.create()
    first = await api.do("complete", task["id"])
    events = api.count("outbox")
    api.clock.move(minutes=5)
    assert await api.do("complete", task["id"]) == first
    assert api.count("outbox") == events
    assert api.sample("task_operations_total", operation="complete", outcome="unchanged") == 1


async def test_a_deleted_task_is_gone_for_its_owner_and_stays_in_the_table(api: Api) -> None:
    """After DELETE every route answers 404, and the row stays with status deleted."""
    task = await api.create()
    path = f"/api/tasks/{task['id']}"
    await api.call("DELETE", path)
    for method, suffix in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/complete"), ("POST", "/reopen")):
        body = {"title": "x"} if method == "PATCH" else None
        assert (await api.call(method, path + suffix, json=body)).status_code == 404
    assert (await api.call("GET", "/api/tasks")).json()["total"] == 0
    assert api.rows("SELECT status FROM api.tasks")[0]["status"] == "deleted"


async def test_tasks_of_others_are_not_there(api: Api) -> None:
    """Each way to somebody else's task answers 404, exactly as for a task that never was."""
    task = await api.create(user=7)
    path = f"/api/tasks/{task['id']}"
    for method, suffix in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/complete"), ("POST", "/reopen")):
        body = {"title": "x"} if method == "PATCH" else None
        mine = await api.call(method, path + suffix, user=8, headers={"x-request-id": "same"}, json=body)
        never = await api.call(
            method, "/api/tasks/999999" + suffix, user=8, headers={"x-request-id": "same"}, json=body
        )
        assert mine.status_code == 404
        assert mine.content == never.content
    assert (await api.call("GET", path, user=7)).json() == task


async def test_an_edit_of_an_older_version_is_refused(api: Api) -> None:
    """If-Match with an old version is 412, a body with one 409, and both leave the task alone."""
    task = await api.create()
    path = f"/api/tasks/{task['id']}"
    assert (await api.call("PATCH", path, json={"title": "b"}, headers={"if-match": '"1"'})).headers["etag"] == '"2"'
    for tag in ('"1"', 'W/"2"', "2", "nonsense", ""):
        refused = await api.call("PATCH", path, json={"title": "c"}, headers={"if-match": tag})
        assert refused.status_code == 412
    assert (await api.call("PATCH", path, json={"title": "c", "version": 1})).status_code == 409
    for version in (True, "2", 2.5, 0):
        unread = await api.call("PATCH", path, json={"title": "c", "version": version})
        assert [error["field"] for error in unread.json()["errors"]] == ["version"]
    assert (await api.call("POST", path + "/complete", headers={"if-match": '"1"'})).status_code == 412
    assert (await api.call("DELETE", path, headers={"if-match": '"7", "8"'})).status_code == 412
    kept = await api.call("GET", path)
    assert (kept.json()["title"], kept.headers["etag"]) == ("b", '"2"')
    for tag in ('"1", "2"', "*"):
        assert (await api.call("PATCH", path, json={"title": "b"}, headers={"if-match": tag})).status_code == 200


async def test_events_of_one_user_carry_moments_in_the_order_of_their_numbers(api: Api) -> None:
    """occurred_at never runs against user_seq."""
    for _ in range(3):
        await api.create()
        api.clock.move(seconds=1)
    rows = api.rows("SELECT occurred_at FROM api.changes ORDER BY user_seq")
    moments = [row["occurred_at"] for row in rows]
    assert moments == sorted(moments)
    assert moments[-1] - moments[0] == timedelta(seconds=2)


async def test_the_correlation_id_of_the_request_is_in_its_events(api: Api) -> None:
    """An event says which request it comes from."""
    await api.call("POST", "/api/tasks", json={"title": "a"}, headers={"x-request-id": "from-the-client"})
    rows = api.rows("SELECT envelope FROM api.outbox")
    assert {row["envelope"]["data"]["correlation_id"] for row in rows} == {"from-the-client"}
