"""A million tasks of a thousand users, one with a hundred thousand: answers of the API against the bare SQL."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from tests.unit.services.api.api_server import Api, make_api
from tests.unit.services.fake_broker import FakeClock
from tests.unit.services.many_tasks import Crowd, combinations, load
from tests.unit.services.postgres_server import PostgresServer, TodoDatabase, bin_folder

_CROWD = Crowd(tasks=1_000_000, users=1_000, heavy_tasks=100_000)
_NOBODY = 999_999
_COMBINATIONS, _ROUNDS = 150, 3
_COLUMNS = (
    "id, title, description, status, priority, tags, due_date, zone, reminder_offset, recurrence_rule, series_id,"
    " occurrence, parent_task_id, version, created_at, updated_at, completed_at"
)
_CONDITIONS = {
    "q": "(title ILIKE '%%' || %(q)s || '%%' OR description ILIKE '%%' || %(q)s || '%%')",
    "status": "status = ANY(%(status)s)",
    "priority": "priority = ANY(%(priority)s)",
    "tags": "tags @> %(tags)s",
    "due_from": "due_date >= %(due_from)s",
    "due_to": "due_date < %(due_to)s",
}
_ORDERS = {"created_at": "created_at", "due_date": "due_date", "priority": "priority_rank"}


@dataclass(frozen=True)
class Pair:
    """Medians in seconds of one combination: the API's whole answer and the bare SQL of the same page and total."""

    asked: dict[str, Any]
    answer: float
    bare: float

    def __str__(self) -> str:
        return f"{self.answer / self.bare:.2f}: {self.answer * 1000:.1f} ms against {self.bare * 1000:.1f} ms, {self.asked}"


@pytest.fixture(scope="module")
def filled() -> Iterator[TodoDatabase]:
    """The million, on a server of its own."""
    server = PostgresServer(bin_folder())
    try:
        server.create()
        database = server.new_database()
        with psycopg.connect(database.admin_url) as link:
            load(link, _CROWD)
        yield database
    finally:
        server.remove()


@pytest.mark.parametrize("who", ["heavy", "light"])
def test_answers_among_a_million_tasks(filled: TodoDatabase, who: str) -> None:
    """Each answer takes at most three times the bare SQL, plus what an answer with nothing in it takes."""
    pairs, nothing = asyncio.run(_measure(filled, getattr(_CROWD, who)))
    ratios = sorted(pair.answer / pair.bare for pair in pairs)
    within = sum(ratio <= 3 for ratio in ratios)
    print(
        f"\n{who} user, {len(pairs)} combinations: median ratio {statistics.median(ratios):.2f}, "
        f"{within} within 3 as they stand; an answer with nothing in it takes {nothing * 1000:.1f} ms"
    )
    for pair in sorted(pairs, key=lambda pair: pair.answer / pair.bare)[-3:]:
        print(f"  {pair}")
    slow = [str(pair) for pair in pairs if pair.answer > 3 * pair.bare + nothing]
    assert not slow


async def _measure(database: TodoDatabase, user: int) -> tuple[list[Pair], float]:
    chance = random.Random(1)
    asked = chance.sample(list(combinations()), _COMBINATIONS)
    api = make_api(database, FakeClock())
    async with await psycopg.AsyncConnection.connect(database.url("api"), autocommit=True) as link:
        try:
            await _answer(api, _NOBODY, {})
            pairs = [await _pair(api, link, user, one, chance) for one in asked]
            nothing = statistics.median([(await _timed(lambda: _answer(api, _NOBODY, {})))[0] for _ in range(50)])
        finally:
            await api.http.aclose()
            await api.app.state.parts.database.aclose()
    return pairs, nothing


async def _pair(
    api: Api, link: psycopg.AsyncConnection[Any], user: int, asked: dict[str, Any], chance: random.Random
) -> Pair:
    """The two in turn, in random order, after one of each to warm up; both must give the same."""
    calls = (lambda: _answer(api, user, asked), lambda: _bare(link, user, asked))
    assert await calls[0]() == await calls[1]()
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(_ROUNDS):
        for which in chance.sample((0, 1), 2):
            seconds[which].append((await _timed(calls[which]))[0])
    return Pair(asked, statistics.median(seconds[0]), statistics.median(seconds[1]))


async def _answer(api: Api, user: int, asked: dict[str, Any]) -> tuple[list[int], int]:
    response = await api.call("GET", "/api/tasks/filter", user=user, params=asked)
    assert response.status_code == 200, response.text
    page = response.json()
    return [task["id"] for task in page["items"]], page["total"]


async def _bare(link: psycopg.AsyncConnection[Any], user: int, asked: dict[str, Any]) -> tuple[list[int], int]:
    """The same page and total in SQL as one would write it by hand."""
    values = {name: list(value) if isinstance(value, tuple) else value for name, value in asked.items()}
    conditions = [_CONDITIONS[name] for name in asked if name in _CONDITIONS]
    where = " AND ".join(["user_id = %(user)s", "status <> 'deleted'", *conditions])
    order = f"{_ORDERS[asked['sort']]} {asked['order']} {'NULLS LAST' if asked['sort'] == 'due_date' else ''}"
    page = (
        f"SELECT {_COLUMNS} FROM api.tasks WHERE {where} ORDER BY {order}, id {asked['order']}"
        f" LIMIT {asked.get('limit', 50)} OFFSET {asked.get('offset', 0)}"
    )
    rows = await (await link.execute(page.encode(), values | {"user": user})).fetchall()
    counted = await link.execute(f"SELECT count(*) FROM api.tasks WHERE {where}".encode(), values | {"user": user})
    total = await counted.fetchone()
    assert total is not None
    return [row[0] for row in rows], total[0]


async def _timed(call: Callable[[], Awaitable[Any]]) -> tuple[float, Any]:
    since = time.perf_counter()
    result = await call()
    return time.perf_counter() - since, result
