"""The next task of a series: one per completed task, whatever is sent how often."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from tests.unit.services.api.api_server import INTERNAL, Api

DUE = "2030-03-01T09:00:00+01:00"


async def _recurring(api: Api, **fields: Any) -> dict[str, Any]:
    rule = {"frequency": "daily"}
    return await api.create(due_date=DUE, recurrence_rule=rule, **fields)


def _order(task: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "predecessor_task_id": task["id"],
        "user_id": 7,
        "series_id": task["series_id"],
        "due_local": "2030-03-02T09:00:00",
        "due_date": "2030-03-02T08:00:00Z",
        "index": 2,
        "occurred_at": "2030-01-31T12:00:00Z",
        "correlation_id": "the-completion",
        "causation_event_id": str(uuid4()),
        **changes,
    }


async def test_the_successor_takes_over_what_the_user_wrote(api: Api) -> None:
    """Title, description, priority, tags and reminder come from the predecessor, the due date from the order."""
    task = await _recurring(api, description="d", priority="high", tags=["a"], reminder_offset="PT1H")
    response = await api.occurrence(_order(task))
    made = response.json()
    assert (response.status_code, response.headers["etag"]) == (201, '"1"')
    same = ("title", "description", "priority", "tags", "reminder_offset", "recurrence_rule", "series_id", "zone")
    assert {name: made[name] for name in same} == {name: task[name] for name in same}
    assert (made["due_date"], made["occurrence"], made["parent_task_id"]) == ("2030-03-02T08:00:00Z", 2, task["id"])
    events = api.rows("SELECT envelope FROM api.outbox WHERE topic = 'task-events' ORDER BY id")
    data = events[-1]["envelope"]["data"]
    assert (data["event_type"], data["correlation_id"], data["user_seq"]) == ("task.created", "the-completion", 2)
    series = data["payload"]["task"]["series"]
    assert (series["index"], series["due_local"]) == (2, "2030-03-02T09:00:00")
    assert series["anchor"] == "2030-03-01T09:00:00"
    (state,) = api.rows("SELECT * FROM api.recurring_task_state")
    assert (state["last_index"], state["last_generated_at"]) == (2, api.clock())


async def test_complete_reopen_complete_gives_one_successor(api: Api) -> None:
    """The second completion's order is answered with the task that the first one made."""
    task = await _recurring(api)
    await api.do("complete", task["id"])
    first = await api.occurrence(_order(task))
    await api.do("reopen", task["id"])
    await api.do("complete", task["id"])
    events = api.count("outbox")
    again = await api.occurrence(_order(task, due_date="2030-03-05T08:00:00Z", correlation_id="second"))
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    assert api.count("outbox") == events
    assert api.rows("SELECT count(*) AS n FROM api.tasks WHERE parent_task_id = %s", task["id"])[0]["n"] == 1


async def test_orders_at_the_same_moment_give_one_successor(api: Api) -> None:
    """Ten deliveries at once: one 201, nine 200, one task, one pair of events."""
    task = await _recurring(api)
    answers = await asyncio.gather(*(api.occurrence(_order(task)) for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [200] * 9 + [201]
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert (api.count("tasks"), api.count("outbox")) == (2, 4)


async def test_the_database_itself_refuses_a_second_successor(api: Api) -> None:
    """A writer that does not look for the first one, of whatever release, can't make another."""
    task = await _recurring(api)
    await api.occurrence(_order(task))
    another = "INSERT INTO api.tasks (user_id, title, parent_task_id, created_at, updated_at) VALUES (7, 'x', %s, now(), now())"
    with psycopg.connect(api.todo.url("api")) as link, pytest.raises(psycopg.errors.UniqueViolation):
        link.execute(another.encode(), (task["id"],))


async def test_a_deleted_successor_is_not_made_again(api: Api) -> None:
    """After its deletion the successor is still the one that a repeated order gets."""
    task = await _recurring(api)
    made = (await api.occurrence(_order(task))).json()
    await api.call("DELETE", f"/api/tasks/{made['id']}")
    again = await api.occurrence(_order(task))
    assert (again.status_code, again.json()["status"], again.json()["id"]) == (200, "deleted", made["id"])
    assert api.count("tasks") == 2


@pytest.mark.parametrize("since", ["deleted", "reopened", "rule cleared", "rule changed"])
async def test_the_completion_decides_whatever_happened_since(api: Api, since: str) -> None:
    """A predecessor that was changed after its completion still gets its successor, in the series it was completed in."""
    task = await _recurring(api)
    path = f"/api/tasks/{task['id']}"
    await api.do("complete", task["id"])
    if since == "deleted":
        await api.call("DELETE", path)
    elif since == "reopened":
        await api.do("reopen", task["id"])
    else:
        rule = {"frequency": "weekly"} if since == "rule changed" else None
        assert (await api.call("PATCH", path, json={"recurrence_rule": rule})).status_code == 200
    made = await api.occurrence(_order(task))
    assert (made.status_code, made.json()["series_id"]) == (201, task["series_id"])
    assert made.json()["recurrence_rule"]["frequency"] == "daily"


async def test_an_order_for_what_is_not_there_is_404(api: Api) -> None:
    """Unknown tasks and series, and those of another user, are refused for good."""
    task = await _recurring(api)
    for change in ({"user_id": 8}, {"predecessor_task_id": 999}, {"series_id": 999}):
        assert (await api.occurrence(_order(task, **change))).status_code == 404
    assert (await api.occurrence(_order(task))).status_code == 201
    assert (await api.occurrence(_order(task, user_id=8))).status_code == 404


async def test_only_the_recurring_service_may_ask(api: Api) -> None:
    """Without both tokens the answer is 401, whatever the body; a user's token doesn't help."""
    task = await _recurring(api)
    user = {"authorization": f"Bearer {api.daprd.token(7)}"}
    for headers in ({}, user, {"dapr-api-token": "app-token"}, {**INTERNAL, "x-service-token": "service-toke"}):
        response = await api.http.post("/internal/occurrences", json=_order(task), headers=headers)
        assert response.status_code == 401
    assert api.count("tasks") == 1


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("predecessor_task_id", 2**63),
        ("predecessor_task_id", -1),
        ("user_id", 10**400),
        ("series_id", "x"),
        ("series_id", True),
        ("user_id", "7"),
        ("index", True),
        ("index", 1),
        ("index", 2**31),
        ("due_date", "2030-03-02T08:00:00"),
        ("due_date", "9999-12-31T23:59:59-12:00"),
        ("due_local", "2030-03-02T09:00:00Z"),
        ("due_local", "2030-03-02"),
        ("due_local", 1_900_000_000),
        ("correlation_id", "a\u0000b"),
        ("correlation_id", ""),
    ],
)
async def test_a_malformed_order_is_refused_by_field(api: Api, field: str, value: Any) -> None:
    """What doesn't fit is a 422 with the field's name."""
    response = await api.occurrence(_order({"id": 1, "series_id": 1}, **{field: value}))
    assert response.status_code == 422
    assert [error["field"] for error in response.json()["errors"]] == [field]
