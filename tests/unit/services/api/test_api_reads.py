"""Reads: pages, filters, search and changes, always within the user's own tasks."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import psycopg
import pytest
from prometheus_client import CollectorRegistry

from services.api.metrics import ApiMetrics
from services.api.upkeep import KEEP_CHANGES, KEEP_KEYS, Upkeep
from services.common.database import Database
from tests.unit.services.api.api_server import Api, make_api

TASKS: list[dict[str, Any]] = [
    {"title": "Alpha", "priority": "low", "tags": ["home"], "due_date": "2030-03-03T00:00:00Z"},
    {"title": "beta 100%", "priority": "urgent", "tags": ["home", "work"], "due_date": "2030-03-01T00:00:00Z"},
    {"title": "Gamma", "description": "ALPHA centauri", "priority": "high"},
    {"title": "delta_x", "priority": "medium", "tags": ["work"], "due_date": "2030-03-02T00:00:00Z"},
]


QUERIES = [
    ("", [1, 2, 3, 4]),
    ("?order=desc", [4, 3, 2, 1]),
    ("?sort=due_date", [2, 4, 1, 3]),
    ("?sort=due_date&order=desc", [1, 4, 2, 3]),
    ("?sort=priority", [1, 4, 3, 2]),
    ("?sort=priority&order=desc", [2, 3, 4, 1]),
    ("?limit=2", [1, 2]),
    ("?limit=2&offset=3", [4]),
    ("?offset=9", []),
    ("/filter?status=completed", [4]),
    ("/filter?status=open&status=completed", [1, 2, 3, 4]),
    ("/filter?priority=low&priority=high", [1, 3]),
    ("/filter?tags=home", [1, 2]),
    ("/filter?tags=home&tags=work", [2]),
    ("/filter?tags=nowhere", []),
    ("/filter?due_from=2030-03-02T00:00:00Z", [1, 4]),
    ("/filter?due_to=2030-03-02T00:00:00Z", [2]),
    ("/filter?due_from=2030-03-02T01:00:00%2B01:00&due_to=2030-03-03T00:00:00Z", [4]),
    ("/filter?priority=low&tags=work", []),
    ("/search?q=alpha", [1, 3]),
    ("/search?q=ALPHA&priority=low", [1]),
    ("/search?q=%25", [2]),
    ("/search?q=_", [4]),
    ("/search?q=100%25", [2]),
    ("/search?q=zzz", []),
]


@pytest.fixture
async def filled(api: Api) -> Api:
    """Four tasks of user 7, the last one completed, and one of user 8 that would fit every query."""
    for fields in TASKS:
        await api.create(**fields)
    await api.do("complete", 4)
    await api.create(
        user=8, title="Alpha beta gamma delta 100% _x", tags=["home", "work"], due_date="2030-03-01T00:00:00Z"
    )
    return api


async def test_a_query_gives_the_users_tasks_that_fit(filled: Api) -> None:
    """In the asked order, ties by id, tasks without a due date last, and total is what all pages hold."""
    for path, ids in QUERIES:
        response = await filled.call("GET", f"/api/tasks{path}")
        page = response.json()
        assert ([task["id"] for task in page["items"]], response.status_code) == (ids, 200), path
        paged = "limit" in path or "offset" in path
        assert page["total"] == (4 if paged else len(ids)), path


async def test_a_task_is_shown_as_it_was_answered(filled: Api) -> None:
    """Reading gives what the write gave, with the version as ETag."""
    made = await filled.create(
        due_date="2030-03-01T09:00:00+01:00", reminder_offset="PT90M", recurrence_rule={"frequency": "daily"}
    )
    read = await filled.call("GET", f"/api/tasks/{made['id']}")
    assert (read.json(), read.headers["etag"]) == (made, '"1"')
    assert (made["due_date"], made["reminder_offset"], made["zone"]) == (
        "2030-03-01T08:00:00Z",
        "PT1H30M",
        "Europe/Berlin",
    )
    assert made["recurrence_rule"] == {"frequency": "daily", "interval": 1, "basis": "schedule"}


async def test_changes_are_read_from_a_cursor_on(filled: Api) -> None:
    """Each change once, in order, with the task as it is now; the cursor leads through pages to the head."""
    await filled.call("DELETE", "/api/tasks/1")
    seen, cursor = [], 0
    while True:
        page = (await filled.call("GET", f"/api/changes?since={cursor}&limit=2")).json()
        assert (page["head"], page["resync"]) == (6, False)
        if not page["items"]:
            break
        seen += page["items"]
        cursor = page["cursor"]
    assert cursor == 6
    assert [change["user_seq"] for change in seen] == [1, 2, 3, 4, 5, 6]
    assert [change["event_type"] for change in seen[-2:]] == ["task.completed", "task.deleted"]
    assert (seen[0]["task"]["id"], seen[0]["task"]["status"]) == (1, "deleted")


@pytest.mark.parametrize(
    "asked", ["cursor=abc", "after=5", "since=-1", "since=x", "limit=0", "limit=501", "since=0&x=1"]
)
async def test_a_mistyped_cursor_is_refused(api: Api, asked: str) -> None:
    """A parameter that is not known or not in its range is 422: it would otherwise read from the beginning."""
    assert (await api.call("GET", f"/api/changes?{asked}")).status_code == 422


async def test_a_user_without_changes_is_at_the_start(api: Api) -> None:
    """Nothing yet is no reason to list everything again."""
    page = (await api.call("GET", "/api/changes")).json()
    assert page == {"items": [], "cursor": 0, "head": 0, "resync": False}


async def test_a_cursor_from_elsewhere_leads_to_a_resync(filled: Api) -> None:
    """A cursor beyond the head belongs to another database."""
    page = (await filled.call("GET", "/api/changes?since=99")).json()
    assert page == {"items": [], "cursor": 5, "head": 5, "resync": True}


async def test_upkeep_clears_what_is_old_and_raises_the_floor(api: Api) -> None:
    """Old keys and changes go; who read none of the cleared changes is told to resync, the others go on."""
    await api.create(key="old")
    await api.create()
    api.clock.move(days=KEEP_CHANGES.days + 1)
    await api.create(key="new")
    database = Database(api.todo.url("api"), name="test")
    upkeep = Upkeep(database, metrics=ApiMetrics(registry=CollectorRegistry()), clock=api.clock)
    await upkeep.clear()
    await database.aclose()
    assert KEEP_KEYS < KEEP_CHANGES
    assert [row["key"] for row in api.rows("SELECT key FROM api.idempotency_keys")] == ["new"]
    assert (await api.call("GET", "/api/changes?since=1")).json()["resync"] is True
    page = (await api.call("GET", "/api/changes?since=2")).json()
    assert ([change["user_seq"] for change in page["items"]], page["resync"]) == ([3], False)


def test_roles_may_do_what_they_need_and_no_more(api: Api) -> None:
    """The service can't delete tasks, the operator only reads and sees no kept answers, auth sees nothing."""
    for role, statement in (
        ("api", "DELETE FROM api.tasks"),
        ("api", "TRUNCATE api.changes"),
        ("api", "UPDATE api.outbox SET key = ''"),
        ("api", "UPDATE api.series SET zone = 'UTC'"),
        ("api", "SELECT * FROM auth.users"),
        ("api", "CREATE TABLE api.mine (id int)"),
        ("todo_operator", "DELETE FROM api.outbox"),
        ("todo_operator", "SELECT * FROM api.idempotency_keys"),
        ("auth", "SELECT * FROM api.tasks"),
        ("audit", "SELECT * FROM api.outbox"),
    ):
        with psycopg.connect(api.todo.url(role)) as link, pytest.raises(psycopg.errors.InsufficientPrivilege):
            link.execute(statement.encode())
    with psycopg.connect(api.todo.url("todo_operator")) as link:
        for table in ("tasks", "series", "recurring_task_state", "reminders", "user_seqs", "changes", "outbox"):
            link.execute(f"SELECT count(*) FROM api.{table}".encode())


async def test_each_user_has_a_share_of_requests(api: Api) -> None:
    """Beyond the burst a user gets 429 with Retry-After, and others are not affected."""
    limited = make_api(api.todo, api.clock, RATE_LIMIT_PER_SECOND="1")
    answers = [await limited.call("GET", "/api/changes") for _ in range(4)]
    assert [answer.status_code for answer in answers][:2] == [200, 200]
    assert answers[-1].status_code == 429
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert (await limited.call("GET", "/api/changes", user=8)).status_code == 200
    await limited.http.aclose()
    await limited.app.state.parts.database.aclose()


async def test_readiness_names_what_is_missing(api: Api) -> None:
    """Ready with database and sidecar; 503 with the sidecar's name while that is away; alive all the time."""
    assert (await api.http.get("/readyz")).status_code == 200
    api.daprd.away = True
    away = await api.http.get("/readyz")
    assert (away.status_code, list(away.json()["missing"])) == (503, ["sidecar"])
    assert (await api.http.get("/healthz")).json() == {"status": "ok"}


async def test_metrics_name_routes_never_ids(api: Api) -> None:
    """Requests are counted by route template."""
    task = await api.create()
    await api.do("complete", task["id"])
    text = (await api.http.get("/metrics")).text
    assert 'route="/api/tasks/{task_id}/complete"' in text
    assert 'task_operations_total{operation="create",outcome="done"} 1.0' in text
    assert 'task_operations_total{operation="complete",outcome="done"} 1.0' in text


async def test_overdue_tasks_are_still_listed(api: Api) -> None:
    """A due date is in the future only when it is set."""
    await api.create(due_date=(api.clock() + timedelta(minutes=5)).isoformat())
    api.clock.move(days=1)
    assert (await api.call("GET", "/api/tasks")).json()["total"] == 1
