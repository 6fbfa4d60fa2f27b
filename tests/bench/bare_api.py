"""The least that can be called a task API: FastAPI, a model for the body, and the statements that ours runs.

`python -m tests.bench.bare_api PORT DATABASE_URL`, on the server that our services run on.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import uvicorn
from fastapi import FastAPI
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel

USER = 7

_NUMBER = """
INSERT INTO api.user_seqs (user_id, last_seq, floor_seq) VALUES (%s, 1, 0)
ON CONFLICT (user_id) DO UPDATE SET last_seq = user_seqs.last_seq + 1 RETURNING last_seq
"""
_TASK = """
INSERT INTO api.tasks (user_id, title, description, status, priority, tags, zone, version, created_at, updated_at)
VALUES (%s, %s, %s, 'open', %s, %s, 'UTC', 1, %s, %s) RETURNING *
"""
_CHANGE = """
INSERT INTO api.changes (user_id, user_seq, task_id, version, event_type, changed, occurred_at)
VALUES (%s, %s, %s, 1, 'task.created', %s, %s)
"""
_OUTBOX = """
INSERT INTO api.outbox (user_id, user_seq, topic, key, event_id, envelope, created_at)
VALUES (%s, %s, %s, %s, %s, %s, %s), (%s, %s, %s, %s, %s, %s, %s)
"""
_PAGE = "SELECT * FROM api.tasks WHERE user_id = %s AND status <> 'deleted' ORDER BY id LIMIT 50"
_TOTAL = "SELECT count(*) AS total FROM api.tasks WHERE user_id = %s AND status <> 'deleted'"


class NewTask(BaseModel):
    """A task to create."""

    title: str
    description: str = ""
    priority: str = "medium"
    tags: list[str] = []


class Task(NewTask):
    """A task."""

    id: int
    status: str
    due_date: datetime | None
    zone: str
    version: int
    created_at: datetime
    updated_at: datetime
    completed_at: datetime | None


class Page(BaseModel):
    """A page of tasks."""

    items: list[Task]
    total: int


def make_app(url: str) -> FastAPI:
    """The two handlers."""
    pool: AsyncConnectionPool[Any] = AsyncConnectionPool(url, max_size=10, open=False, kwargs={"row_factory": dict_row})

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with pool:
            yield

    app = FastAPI(lifespan=lifespan)

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.post("/api/tasks", status_code=201)
    async def create(wanted: NewTask) -> Task:
        now = datetime.now(UTC)
        async with pool.connection() as link:
            number = (await (await link.execute(_NUMBER, (USER,))).fetchone())["last_seq"]
            values = (USER, wanted.title, wanted.description, wanted.priority, wanted.tags, now, now)
            row = await (await link.execute(_TASK, values)).fetchone()
            task = Task(**row)
            await link.execute(_CHANGE, (USER, number, task.id, ["title"], now))
            envelope = Jsonb(task.model_dump(mode="json"))
            rows = [(USER, number, topic, "7", uuid4(), envelope, now) for topic in ("task-events", "task-updates")]
            await link.execute(_OUTBOX, (*rows[0], *rows[1]))
        return task

    @app.get("/api/tasks")
    async def list_tasks() -> Page:
        async with pool.connection() as link:
            rows = await (await link.execute(_PAGE, (USER,))).fetchall()
            total = (await (await link.execute(_TOTAL, (USER,))).fetchone())["total"]
        return Page(items=[Task(**row) for row in rows], total=total)

    return app


if __name__ == "__main__":
    uvicorn.run(make_app(sys.argv[2]), port=int(sys.argv[1]), http="httptools", loop="uvloop", access_log=False)
