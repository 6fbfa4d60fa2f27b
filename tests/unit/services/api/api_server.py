"""The task service as its tests see it: HTTP in front, a fake sidecar and a real PostgreSQL behind."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import psycopg
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from psycopg.rows import dict_row

from services.api import queries
from services.api.app import create_app
from services.common.database import Database
from services.common.settings import ServiceSettings
from tests.unit.services.api.fake_daprd import FakeDaprd
from tests.unit.services.fake_broker import FakeClock
from tests.unit.services.postgres_server import TodoDatabase

SETTINGS = {
    "SERVICE_NAME": "api",
    "PORT": "8000",
    "DAPR_HTTP_PORT": "3500",
    "DAPR_API_TOKEN": "dapr-token",
    "APP_API_TOKEN": "app-token",
    "SERVICE_TOKEN": "service-token",
    "RATE_LIMIT_PER_SECOND": "0",
}
INTERNAL = {"dapr-api-token": "app-token", "x-service-token": "service-token"}


@dataclass
class Api:
    """A running task service; requests go to it without a network."""

    app: FastAPI
    daprd: FakeDaprd
    clock: FakeClock
    registry: CollectorRegistry
    todo: TodoDatabase
    http: httpx.AsyncClient

    async def call(
        self, method: str, path: str, *, user: int = 7, key: str | None = None, **options: Any
    ) -> httpx.Response:
        """A request of a user."""
        headers = {"authorization": f"Bearer {self.daprd.token(user)}", **options.pop("headers", {})}
        if key is not None:
            headers["idempotency-key"] = key
        return await self.http.request(method, path, headers=headers, **options)

    async def create(self, user: int = 7, *, key: str | None = None, **fields: Any) -> dict[str, Any]:
        """A new task of a user."""
        response = await self.call("POST", "/api/tasks", user=user, key=key, json={"title": "Water plants", **fields})
        assert response.status_code == 201, response.text
        task: dict[str, Any] = response.json()
        return task

    async def do(self, verb: str, task_id: int, *, user: int = 7, key: str | None = None) -> dict[str, Any]:
        """Complete or reopen a task."""
        response = await self.call("POST", f"/api/tasks/{task_id}/{verb}", user=user, key=key)
        assert response.status_code == 200, response.text
        task: dict[str, Any] = response.json()
        return task

    async def occurrence(self, order: dict[str, Any], **headers: str) -> httpx.Response:
        """What the recurring service asks for."""
        return await self.http.post("/internal/occurrences", json=order, headers={**INTERNAL, **headers})

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """What the database holds, read by its administrator."""
        with psycopg.connect(self.todo.admin_url, row_factory=dict_row) as link:
            return link.execute(query, values).fetchall()

    def count(self, table: str) -> int:
        """How many rows a table of api has."""
        return int(self.rows(f"SELECT count(*) AS n FROM api.{table}")[0]["n"])

    def sample(self, name: str, **labels: str) -> float:
        """A metric's value; 0 where nothing was counted."""
        return self.registry.get_sample_value(name, labels) or 0.0


def make_api(todo: TodoDatabase, clock: FakeClock, **settings: str) -> Api:
    """A task service on a database, its background work not started."""
    daprd = FakeDaprd(clock)
    registry = CollectorRegistry()
    url = todo.url("api")
    read = ServiceSettings.from_environ({**SETTINGS, "DATABASE_URL": url, **settings})
    database = Database(url, name="api", size=8, planning=queries.PLANNING)
    app = create_app(settings=read, sidecar=daprd.sidecar(), database=database, registry=registry, clock=clock)
    http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api")
    return Api(app, daprd, clock, registry, todo, http)


async def until(condition: Callable[[], bool | Awaitable[bool]], *, seconds: float = 15.0) -> None:
    """Wait for an observed state."""
    async with asyncio.timeout(seconds):
        while True:
            seen = condition()
            if seen if isinstance(seen, bool) else await seen:
                return
            await asyncio.sleep(0.01)
