"""Reminders: claimed once, never early, on time whatever the scheduler does."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import jsonschema
import psycopg
import pytest
from prometheus_client import CollectorRegistry

from services.api.metrics import ApiMetrics
from services.api.reminders import Reminders
from services.common.database import Database
from services.contracts.generate import schemas_by_file
from tests.unit.services.api.api_server import INTERNAL, Api, until
from tests.unit.services.postgres_server import TodoDatabase
from todoctl.core.events import REMINDERS, ReminderEvent, parse_event, to_cloud_event

APP = {"dapr-api-token": "app-token"}


def due_in(api: Api, seconds: float, **fields: Any) -> dict[str, Any]:
    """A task that is due so many seconds after the clock's time, reminded of at that moment."""
    moment = api.clock() + timedelta(seconds=seconds)
    return {"due_date": moment.isoformat(), "reminder_offset": "PT0S"} | fields


def trigger(api: Api, task_id: int, moment: str) -> None:
    """Move a reminder's moment to an SQL expression: the database's clock is the one that counts."""
    with psycopg.connect(api.todo.admin_url) as link:
        link.execute(f"UPDATE api.reminders SET trigger_at = {moment} WHERE task_id = %s", (task_id,))


def outbox(api: Api) -> list[dict[str, Any]]:
    """The reminders in the outbox."""
    return api.rows("SELECT * FROM api.outbox WHERE topic = 'reminders' ORDER BY id")


def state(api: Api, task_id: int) -> str:
    """The state of a task's reminder."""
    return str(api.rows("SELECT state FROM api.reminders WHERE task_id = %s", task_id)[0]["state"])


@pytest.fixture
async def reminders(api: Api) -> Reminders:
    """The claimer on the test's database, not running by itself."""
    return Reminders(api.app.state.parts.database, metrics=ApiMetrics(CollectorRegistry()))


async def test_a_due_reminder_becomes_one_event(api: Api, reminders: Reminders) -> None:
    """Claimed once, with the task as it is and the user's last number; a second look finds nothing."""
    task = await api.create(**due_in(api, 60, title="Water “plants” \U0001f331", description="two\nlines"))
    trigger(api, task["id"], "now()")
    await asyncio.gather(reminders.claim(), reminders.claim())
    await reminders.claim()
    [row] = outbox(api)
    event = parse_event(REMINDERS, row["envelope"])
    assert isinstance(event, ReminderEvent)
    assert (event.event_type, event.user_id, event.task_id, event.version) == ("reminder.due", 7, task["id"], 1)
    assert event.payload.title == "Water “plants” \U0001f331"
    assert event.payload.description == "two\nlines"
    assert event.payload.due_date == api.clock() + timedelta(seconds=60)
    assert (event.user_seq, row["user_seq"], row["key"], row["event_id"]) == (1, 1, "7", event.event_id)
    assert state(api, task["id"]) == "fired"


async def test_the_event_is_what_the_code_would_write(api: Api, reminders: Reminders) -> None:
    """The envelope that SQL builds says the same as the model's own, and fits the published schema."""
    task = await api.create(**due_in(api, 60))
    trigger(api, task["id"], "now()")
    await reminders.claim()
    [row] = outbox(api)
    event = parse_event(REMINDERS, row["envelope"])
    ours = to_cloud_event(event, source="/todo/api")
    assert set(row["envelope"]) == set(ours)
    assert set(row["envelope"]["data"]) == set(ours["data"])
    assert set(row["envelope"]["data"]["payload"]) == set(ours["data"]["payload"])
    assert parse_event(REMINDERS, ours) == event
    jsonschema.validate(row["envelope"]["data"], schemas_by_file()["reminder-event-schema.json"])


async def test_a_reminder_is_never_early(api: Api, reminders: Reminders) -> None:
    """What is due later stays, and the claimer knows when to look again."""
    task = await api.create(**due_in(api, 60))
    trigger(api, task["id"], "clock_timestamp() + interval '3 seconds'")
    ahead = await reminders.claim()
    assert 2 < ahead <= 3
    assert outbox(api) == []
    assert state(api, task["id"]) == "scheduled"


@pytest.mark.parametrize("verb", ["complete", "delete", "clear"])
async def test_a_reminder_that_no_longer_counts_is_not_sent(api: Api, reminders: Reminders, verb: str) -> None:
    """Completing, deleting and clearing the due date cancel it in the same transaction."""
    task = await api.create(**due_in(api, 60))
    trigger(api, task["id"], "now() - interval '1 minute'")
    if verb == "complete":
        await api.do("complete", task["id"])
    elif verb == "delete":
        assert (await api.call("DELETE", f"/api/tasks/{task['id']}")).status_code == 204
    else:
        assert (await api.call("PATCH", f"/api/tasks/{task['id']}", json={"due_date": None})).status_code == 200
    await reminders.claim()
    assert outbox(api) == []
    assert state(api, task["id"]) == "cancelled"


async def test_a_moved_reminder_fires_at_its_new_moment_only(api: Api, reminders: Reminders) -> None:
    """Another due date or offset moves the row; one that has fired fires again only at another moment."""
    task = await api.create(**due_in(api, 60))
    trigger(api, task["id"], "now()")
    moved = {"due_date": (api.clock() + timedelta(hours=2)).isoformat()}
    assert (await api.call("PATCH", f"/api/tasks/{task['id']}", json=moved)).status_code == 200
    await reminders.claim()
    assert outbox(api) == []
    [row] = api.rows("SELECT trigger_at, state FROM api.reminders")
    assert (row["trigger_at"], row["state"]) == (api.clock() + timedelta(hours=2), "scheduled")


async def test_a_write_in_progress_is_waited_for_not_waited_on(api: Api, reminders: Reminders) -> None:
    """A user's write keeps only that user's reminders, and only until it is over."""
    mine, other = await api.create(**due_in(api, 60)), await api.create(8, **due_in(api, 60))
    for task in (mine, other):
        trigger(api, task["id"], "now()")
    with psycopg.connect(api.todo.admin_url) as link:
        link.execute("SELECT FROM api.user_seqs WHERE user_id = 7 FOR UPDATE")
        pause = await reminders.claim()
        assert [row["user_id"] for row in outbox(api)] == [8]
        assert pause < 1
    await reminders.claim()
    assert [row["user_id"] for row in outbox(api)] == [8, 7]


async def test_ten_thousand_in_one_second_are_in_the_outbox_within_five(todo: TodoDatabase) -> None:
    """By batches, not row by row; each exactly once though two processes claim."""
    with psycopg.connect(todo.admin_url) as link:
        link.execute("INSERT INTO api.user_seqs (user_id, last_seq) SELECT n, 10 FROM generate_series(1, 1000) n")
        link.execute("""
            INSERT INTO api.tasks (user_id, title, description, due_date, reminder_offset, created_at, updated_at)
            SELECT 1 + n % 1000, 'task ' || n, repeat('x', 200), now(), interval '0', now(), now()
            FROM generate_series(1, 10000) n""")
        link.execute("""
            INSERT INTO api.reminders (task_id, user_id, trigger_at, due_date, state)
            SELECT id, user_id, date_trunc('second', now()), due_date, 'scheduled' FROM api.tasks""")
    databases = [Database(todo.url("api"), name="api", size=2) for _ in range(2)]
    claimers = [Reminders(database, metrics=ApiMetrics(CollectorRegistry())) for database in databases]
    since = time.monotonic()
    while min(await asyncio.gather(*(claimer.claim() for claimer in claimers))) < 1:
        assert time.monotonic() - since < 60
    took = time.monotonic() - since
    print(f"{took:.2f} s")
    for database in databases:
        await database.aclose()
    with psycopg.connect(todo.admin_url) as link:
        found = link.execute(
            "SELECT count(*), count(DISTINCT envelope->'data'->'payload'->>'reminder_id') FROM api.outbox"
        ).fetchone()
    assert found == (10000, 10000)
    assert took < 5


async def test_each_second_gets_one_job(relaying: Api) -> None:
    """Named for its second, with data, replaced when set again; never before the reminder's moment."""
    moment = relaying.clock() + timedelta(minutes=5, milliseconds=300)
    for _ in range(2):
        await relaying.create(**due_in(relaying, 0, due_date=moment.isoformat()))
    await until(lambda: bool(relaying.daprd.jobs))
    second = int(moment.timestamp()) + 1
    due = datetime.fromtimestamp(second, UTC)
    assert relaying.daprd.jobs == {
        f"reminders-{second}": {
            "dueTime": due.isoformat().replace("+00:00", "Z"),
            "data": {"due": due.isoformat()},
            "overwrite": True,
        }
    }
    assert relaying.daprd.calls[f"/v1.0-alpha1/jobs/reminders-{second}"] == 1


async def test_a_callback_claims_at_once(relaying: Api) -> None:
    """The job's route needs the app token, and wakes the claimer."""
    task = await relaying.create(**due_in(relaying, 60))
    # The claimer sleeps until it is woken: it has looked before this reminder's moment was moved.
    await until(lambda: bool(relaying.daprd.jobs))
    trigger(relaying, task["id"], "now()")
    refused = await relaying.http.post("/job/reminders-1", json={})
    assert refused.status_code == 401
    assert state(relaying, task["id"]) == "scheduled"
    answer = await relaying.http.post("/job/reminders-1", json={"due": "now"}, headers=APP)
    assert answer.status_code == 204
    await until(lambda: bool(relaying.daprd.on("reminders")), seconds=5)
    assert relaying.daprd.on("reminders")[0].key == "7"


async def test_without_the_scheduler_requests_are_as_quick_and_jobs_are_set_later(relaying: Api) -> None:
    """A write never waits for it; the wanted jobs do."""
    relaying.daprd.scheduler_away = True
    since = time.monotonic()
    await relaying.create(**due_in(relaying, 600))
    assert time.monotonic() - since < 5
    await until(lambda: relaying.sample("reminder_alarms_total", outcome="failed") >= 2)
    relaying.daprd.scheduler_away = False
    await until(lambda: len(relaying.daprd.jobs) == 1)


async def test_a_moment_that_has_passed_is_due_at_once(relaying: Api) -> None:
    """The offset reaches into the past while the due date lies ahead: no job, the claimer is woken."""
    due = relaying.clock() + timedelta(days=1)
    await relaying.create(due_date=due.isoformat(), reminder_offset="P2D")
    [row] = relaying.rows("SELECT state FROM api.reminders")
    assert row["state"] == "scheduled"
    assert relaying.daprd.jobs == {}


async def test_standing_is_told_to_services_only(api: Api, reminders: Reminders) -> None:
    """A claimed reminder stands until it is moved or its task is done; who asks needs both tokens."""
    task = await api.create(**due_in(api, 60))
    trigger(api, task["id"], "now()")
    await reminders.claim()
    [row] = api.rows("SELECT id, trigger_at FROM api.reminders")
    url, at = f"/internal/reminders/{row['id']}", {"trigger_at": row["trigger_at"].isoformat()}
    assert (await api.http.get(url, params=at, headers=APP)).status_code == 401
    assert (await api.http.get(url, params=at, headers=INTERNAL)).json() == {"current": True}
    other = {"trigger_at": (row["trigger_at"] + timedelta(seconds=1)).isoformat()}
    assert (await api.http.get(url, params=other, headers=INTERNAL)).json() == {"current": False}
    await api.do("complete", task["id"])
    assert (await api.http.get(url, params=at, headers=INTERNAL)).json() == {"current": False}
