"""How fast audit takes events from its bulk route, against plain COPY of the same rows into the same kind of table."""

from __future__ import annotations

import asyncio

import httpx
import psycopg
from psycopg.rows import TupleRow

from services.audit.chains import COLUMNS, COPY
from tests.bench.paired import compare
from tests.bench.service import APP_TOKEN, service
from tests.unit.services.postgres_server import TodoDatabase
from tests.unit.services.records import bulk_body, record

# As daprd delivers: one batch of a partition after another, all partitions beside each other.
_PARTITIONS, _BATCHES, _EACH = 6, 4, 200
_ROWS = _PARTITIONS * _BATCHES * _EACH


def test_ingest_against_plain_copy(todo: TodoDatabase) -> None:
    """Parsed, hashed, without duplicates and chained, rows come in at 0.3 times the speed of COPY or better."""
    with service("audit", todo.url("audit")) as url:
        batches: list[list[bytes]] = []

        def ours() -> None:
            asyncio.run(_deliver(f"{url}/events/task-events", batches.pop()))

        def plain() -> None:
            _copy(todo, rows)

        rounds = 15
        batches += [_bodies(number) for number in range(rounds + 2)]
        ours()
        rows = _rows(todo)
        with psycopg.connect(todo.admin_url) as link:
            link.execute("CREATE TABLE audit.plain (LIKE audit.audit_logs INCLUDING ALL)")
        ratio = compare(plain, ours, rounds=rounds)
        with psycopg.connect(todo.admin_url) as link:
            counted = link.execute("SELECT count(*) FROM audit.audit_logs").fetchone()
    print(f"\n{_ROWS} rows by plain COPY against audit's bulk route: {ratio}")
    assert counted == (_ROWS * (rounds + 2),)
    assert ratio.median >= 0.3


def _bodies(number: int) -> list[bytes]:
    """A round's deliveries: first all first batches, then all second ones."""
    return [
        bulk_body(
            [record("task-events") for _ in range(_EACH)],
            "task-events",
            partition=partition,
            first_offset=(number * _BATCHES + batch) * _EACH,
        )
        for batch in range(_BATCHES)
        for partition in range(_PARTITIONS)
    ]


async def _deliver(url: str, bodies: list[bytes]) -> None:
    async def partition(number: int, http: httpx.AsyncClient) -> None:
        for body in bodies[number::_PARTITIONS]:
            answer = await http.post(url, content=body, headers={"dapr-api-token": APP_TOKEN})
            assert {entry["status"] for entry in answer.json()["statuses"]} == {"SUCCESS"}

    async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
        await asyncio.gather(*(partition(number, http) for number in range(_PARTITIONS)))


def _rows(todo: TodoDatabase) -> list[TupleRow]:
    columns = ", ".join("details::text" if name == "details" else name for name in COLUMNS)
    with psycopg.connect(todo.admin_url) as link:
        return link.execute(f"SELECT {columns} FROM audit.audit_logs").fetchall()


def _copy(todo: TodoDatabase, rows: list[TupleRow]) -> None:
    """All rows in one transaction, into the emptied twin of the table, indexes and constraints included."""
    with psycopg.connect(todo.admin_url) as link:
        link.execute("TRUNCATE audit.plain")
        with link.cursor().copy(COPY.replace("audit.audit_logs", "audit.plain")) as copy:
            for row in rows:
                copy.write_row(row)
