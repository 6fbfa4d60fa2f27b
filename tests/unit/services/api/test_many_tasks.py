"""Queries among many users' tasks: whatever is asked, only rows of the user who asks are read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from sqlalchemy.dialects import postgresql

from services.api import queries
from services.api.schemas import TaskQuery
from tests.unit.services.many_tasks import Crowd, combinations, load
from tests.unit.services.postgres_server import PostgresServer, TodoDatabase

_FEW = Crowd(tasks=20_000, users=50, heavy_tasks=5_000)
_MILLION = Crowd(tasks=1_000_000, users=1_000, heavy_tasks=100_000)


@pytest.fixture(scope="module")
def crowd(request: pytest.FixtureRequest) -> Crowd:
    """Thousands of tasks, or with --million that many."""
    return _MILLION if request.config.getoption("--million") else _FEW


@pytest.fixture(scope="module")
def filled(postgres_server: PostgresServer, crowd: Crowd) -> Iterator[TodoDatabase]:
    """A database with the crowd's tasks."""
    database = postgres_server.new_database()
    with psycopg.connect(database.admin_url) as link:
        load(link, crowd)
    yield database
    postgres_server.drop(database)


@pytest.mark.parametrize("who", ["heavy", "light"])
def test_no_plan_reads_rows_of_others(filled: TodoDatabase, crowd: Crowd, who: str) -> None:
    """Each scan goes into an index at the user's own entries, even for one with a quarter of all rows; --million tries all."""
    user = getattr(crowd, who)
    with _as_api(filled) as link:
        # Every seventh of them has each value of each parameter beside each value of each other one.
        every = list(combinations())[:: 1 if crowd == _MILLION else 7]
        for number, asked in enumerate(every):
            query = TaskQuery.model_validate(asked)
            values = queries.values_of(user, query)
            for made in (queries.page_statement(query), queries.total_statement(query)):
                statement = made.params(values)
                for node in _nodes(_plan(link, statement)):
                    assert _is_within(node, user), (asked, node)
                if number % 20 == 0:
                    _assert_counted(link, statement, user)


_WEEK = {"due_from": "2030-02-01T00:00:00Z", "due_to": "2030-02-08T00:00:00Z"}
_YEAR = {"due_from": "2030-02-01T00:00:00Z", "due_to": "2031-02-01T00:00:00Z"}


@pytest.mark.parametrize("who", ["heavy", "light"])
@pytest.mark.parametrize("span", [_WEEK, _YEAR])
@pytest.mark.parametrize("tags", [("home", "work"), ("work", "home", "garden"), ("home", "home"), ("passport", "home")])
def test_a_task_must_have_all_of_the_tags(
    filled: TodoDatabase, crowd: Crowd, who: str, span: dict[str, str], tags: tuple[str, ...]
) -> None:
    """However they are asked for, which depends on how long the range of due dates is."""
    user = getattr(crowd, who)
    expected = (
        "SELECT count(*) FROM api.tasks WHERE user_id = %s AND status <> 'deleted' AND tags @> %s"
        " AND due_date >= %s AND due_date < %s"
    )
    query = TaskQuery.model_validate({"tags": tags, **span})
    with _as_api(filled) as link:
        found = link.execute(_sql(queries.total_statement(query).params(queries.values_of(user, query)))).fetchone()
        assert found == link.execute(expected, (user, list(tags), *span.values())).fetchone()


def test_two_tags_within_a_week_are_looked_for_in_that_week(filled: TodoDatabase, crowd: Crowd) -> None:
    """The planner would read all tasks with both tags: it takes tags of one user for independent of each other."""
    within = "SELECT count(*) FROM api.tasks WHERE user_id = %s AND due_date >= %s AND due_date < %s"
    query = TaskQuery.model_validate({"tags": ("home", "work"), **_WEEK})
    values = queries.values_of(crowd.heavy, query)
    with _as_api(filled) as link:
        due = link.execute(within, (crowd.heavy, *_WEEK.values())).fetchone()
        assert due is not None
        for statement in (queries.page_statement(query), queries.total_statement(query)):
            nodes = _nodes(_plan(link, statement.params(values), "ANALYZE, TIMING OFF, "))
            assert max(node["Actual Rows"] + node.get("Rows Removed by Filter", 0) for node in nodes) <= due[0]


def _assert_counted(link: psycopg.Connection[Any], statement: Any, user: int) -> None:
    """What the scans really came across is no more than the user has, and nothing of others was looked at again."""
    owned = link.execute("SELECT count(*) FROM api.tasks WHERE user_id = %s", (user,)).fetchone()
    assert owned is not None
    for node in _nodes(_plan(link, statement, "ANALYZE, TIMING OFF, ")):
        if "Scan" in node["Node Type"]:
            came_across = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
            assert came_across * node["Actual Loops"] <= owned[0], node
            assert (node.get("Rows Removed by Index Recheck", 0), node.get("Lossy Heap Blocks", 0)) == (0, 0), node


def _is_within(node: dict[str, Any], user: int) -> bool:
    kind, index = node["Node Type"], node.get("Index Name")
    if kind not in {"Index Scan", "Index Only Scan", "Bitmap Index Scan"}:
        # A heap scan of a bitmap visits what the bitmap's own scans found.
        return kind == "Bitmap Heap Scan" or "Scan" not in kind
    if index == "idx_tasks_tag_keys":
        return f"(tag_keys @> '{{{user}:" in node["Index Cond"]
    # The user is the first column of these; an equality there is a range of that user's entries.
    by_user = {"idx_tasks_creation", "idx_tasks_priority", "idx_tasks_due_date"}
    return index in by_user and f"(user_id = {user})" in node["Index Cond"]


def _as_api(database: TodoDatabase) -> psycopg.Connection[Any]:
    return psycopg.connect(database.url("api"), autocommit=True, options=queries.PLANNING)


def _plan(link: psycopg.Connection[Any], statement: Any, options: str = "") -> dict[str, Any]:
    row = link.execute(f"EXPLAIN ({options}FORMAT JSON) ".encode() + _sql(statement)).fetchone()
    assert row is not None
    plan: dict[str, Any] = row[0][0]["Plan"]
    return plan


def _sql(statement: Any) -> bytes:
    compiled = str(statement.compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True}))  # type: ignore[no-untyped-call]
    return compiled.replace("%%", "%").encode()


def _nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for child in plan.get("Plans", []) for node in _nodes(child))]
