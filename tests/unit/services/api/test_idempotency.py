"""Requests that come again: one effect, one answer."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from tests.unit.services.api.api_server import Api, make_api, until
from tests.unit.services.fake_broker import FakeClock
from tests.unit.services.postgres_server import PostgresServer, TodoDatabase


async def test_a_repeated_request_gets_the_same_answer_and_has_no_effect(api: Api) -> None:
    """The same key and body: the first answer byte by byte, marked as replayed, nothing new in any table."""
    body = {"title": "Once", "tags": ["ä"], "due_date": "2030-03-01T09:00:00Z"}
    first = await api.call("POST", "/api/tasks", key="k", json=body)
    counts = {table: api.count(table) for table in ("tasks", "changes", "outbox", "idempotency_keys")}
    again = await api.call("POST", "/api/tasks", key="k", json=dict(reversed(body.items())))
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["etag"] == first.headers["etag"] == '"1"'
    assert "idempotency-replayed" not in first.headers
    assert {table: api.count(table) for table in counts} == counts


async def test_a_replay_tells_what_was_then_not_what_is_now(api: Api) -> None:
    """The answer is the kept one even when the task has changed, or is gone, since."""
    task = await api.create()
    path = f"/api/tasks/{task['id']}"
    first = await api.call("POST", path + "/complete", key="done")
    await api.do("reopen", task["id"])
    assert (await api.call("DELETE", path, key="bye")).status_code == 204
    again = await api.call("POST", path + "/complete", key="done")
    assert (again.status_code, again.content) == (200, first.content)
    gone = await api.call("DELETE", path, key="bye")
    assert (gone.status_code, gone.content, gone.headers["idempotency-replayed"]) == (204, b"", "true")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/api/tasks", {"title": "Another"}),
        ("PATCH", "/api/tasks/1", {"title": "One"}),
        ("POST", "/api/tasks/1/complete", None),
        ("DELETE", "/api/tasks/1", None),
    ],
)
async def test_a_key_belongs_to_one_request(api: Api, method: str, path: str, body: dict[str, str] | None) -> None:
    """The same key with another body, path or method is 422 and has no effect."""
    task = await api.create(title="One", key="k")
    assert task["id"] == 1
    refused = await api.call(method, path, key="k", json=body)
    assert (refused.status_code, refused.json()["code"]) == (422, "idempotency_key_reused")
    assert api.count("changes") == 1


async def test_keys_of_two_users_are_two_keys(api: Api) -> None:
    """Users don't share keys."""
    first, second = await api.create(user=7, key="k"), await api.create(user=8, key="k")
    assert first["id"] != second["id"]


@pytest.mark.parametrize("key", ["", "x" * 129, "caf\xe9", "a\tb"])
async def test_a_malformed_key_is_refused_by_name(api: Api, key: str) -> None:
    """A key has 1 to 128 printable ASCII characters."""
    headers = {b"idempotency-key": key.encode("latin-1"), b"authorization": f"Bearer {api.daprd.token(7)}".encode()}
    response = await api.http.post("/api/tasks", json={"title": "a"}, headers=headers)
    assert response.status_code == 422
    assert [error["field"] for error in response.json()["errors"]] == ["Idempotency-Key"]


async def test_a_refused_request_does_not_use_up_its_key(api: Api) -> None:
    """A key is kept only with an effect: after a 422 the mended request may have it."""
    bad = await api.call("POST", "/api/tasks", key="k", json={"title": "a", "due_date": "2001-01-01T00:00:00Z"})
    assert bad.status_code == 422
    assert (await api.call("POST", "/api/tasks", key="k", json={"title": "a"})).status_code == 201


@pytest.mark.parametrize("known", [False, True])
async def test_two_at_once_give_one_task(api: Api, known: bool) -> None:
    """Twenty requests with one key at the same moment make one task and get one answer, for a new user too."""
    if known:
        await api.create(title="Earlier")
    body = {"title": "Together"}
    answers = await asyncio.gather(*(api.call("POST", "/api/tasks", key="k", json=body) for _ in range(20)))
    assert {(answer.status_code, answer.content) for answer in answers} == {(201, answers[0].content)}
    assert sum("idempotency-replayed" in answer.headers for answer in answers) == 19
    assert api.rows("SELECT count(*) AS n FROM api.tasks WHERE title = 'Together'")[0]["n"] == 1


async def test_two_completions_at_once_without_a_key_give_one_event(api: Api) -> None:
    """Concurrent completions of one task: all are answered 200, one of them makes the event."""
    task = await api.create()
    answers = await asyncio.gather(*(api.do("complete", task["id"]) for _ in range(10)))
    assert {answer["version"] for answer in answers} == {2}
    assert api.rows("SELECT count(*) AS n FROM api.changes WHERE event_type = 'task.completed'")[0]["n"] == 1


async def test_a_request_cut_off_before_its_commit_has_no_effect_until_it_is_repeated(api: Api) -> None:
    """The backend is terminated while the write waits for its lock: 503, and the repetition does it once."""
    await api.create(title="Earlier")
    with psycopg.connect(api.todo.admin_url) as blocker:
        blocker.execute("SELECT 1 FROM api.user_seqs WHERE user_id = 7 FOR UPDATE")
        request = asyncio.create_task(api.call("POST", "/api/tasks", key="k", json={"title": "Doubt"}))
        await until(lambda: bool(_waiting(api)))
        with psycopg.connect(api.todo.admin_url, autocommit=True) as killer:
            killer.execute("SELECT pg_terminate_backend(%s)", (_waiting(api)[0],))
        first = await request
    assert (first.status_code, first.headers["retry-after"]) == (503, "1")
    assert api.count("tasks") == 1
    assert (await api.call("POST", "/api/tasks", key="k", json={"title": "Doubt"})).status_code == 201
    assert api.count("tasks") == 2


async def test_a_request_whose_answer_was_lost_after_the_commit_is_not_done_twice(
    fragile: tuple[PostgresServer, TodoDatabase], clock: FakeClock
) -> None:
    """The server is killed under a running crowd; each 503 is repeated with its key: one task per key in the end."""
    server, database = fragile
    api = make_api(database, clock)
    keys = [f"k{number}" for number in range(60)]
    crowd = [asyncio.create_task(_persist(api, key)) for key in keys]
    # Some are through, some on their way, some still to come.
    await until(lambda: sum(task.done() for task in crowd) >= 5 or api.count("tasks") >= 10)
    await asyncio.to_thread(server.kill)
    await until(lambda: api.sample("task_operations_total", operation="create", outcome="unavailable") > 0)
    # Not in a thread: the server dies with the thread that started it.
    server.start()
    statuses = [status for task in await asyncio.gather(*crowd) for status in task]
    assert set(statuses) <= {201, 503}
    assert 503 in statuses
    titles = [row["title"] for row in api.rows("SELECT title FROM api.tasks ORDER BY title")]
    assert titles == sorted(keys)
    assert api.count("outbox") == 2 * len(keys)
    seqs = [row["user_seq"] for row in api.rows("SELECT user_seq FROM api.changes ORDER BY user_seq")]
    assert seqs == list(range(1, len(keys) + 1))
    await api.http.aclose()
    await api.app.state.parts.database.aclose()


async def _persist(api: Api, key: str) -> list[int]:
    """Send until there is an answer other than 503; the statuses on the way."""
    statuses = []
    while True:
        response = await api.call("POST", "/api/tasks", key=key, json={"title": key})
        statuses.append(response.status_code)
        if response.status_code != 503:
            return statuses
        await asyncio.sleep(0.05)


def _waiting(api: Api) -> list[int]:
    query = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = 'api'"
    return [row["pid"] for row in api.rows(query)]
