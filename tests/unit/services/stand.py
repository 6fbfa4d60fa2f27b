"""All services as somebody on the network meets them: real servers on ports, a real PostgreSQL behind, one loop.

Only the sidecars are fake: they carry calls from service to service, and keep what is published.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
import psycopg
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from psycopg.rows import dict_row

from services.api.app import create_app as api_app
from services.audit.app import create_app as audit_app
from services.auth.app import create_app as auth_app
from services.common.database import Database
from services.common.server import make_server
from services.common.settings import ServiceSettings
from services.common.sidecar import Sidecar
from services.notification.app import create_app as notification_app
from services.recurring.app import create_app as recurring_app
from services.sync.app import create_app as sync_app
from services.sync.settings import SyncSettings
from tests.unit.services.fake_sidecar import FakeSidecar
from tests.unit.services.postgres_server import TodoDatabase, free_port

NAMES = ("auth", "api", "audit", "recurring", "notification", "sync")
ORIGIN = "http://page.example"
SIDECAR = {"dapr-api-token": "app-token"}
SERVICE = {**SIDECAR, "x-service-token": "service-token"}
PASSWORD = "correct horse battery"


@dataclass
class Stand:
    """The running services."""

    todo: TodoDatabase
    fakes: dict[str, FakeSidecar]
    ports: dict[str, int]
    apps: dict[str, FastAPI]
    http: httpx.Client
    tokens: dict[str, str] = field(default_factory=dict)

    def url(self, service: str, path: str = "") -> str:
        """An address of a service."""
        return f"http://127.0.0.1:{self.ports[service]}{path}"

    def token(self, name: str = "ann", *, role: str = "user") -> str:
        """The access token of a user, who is registered at the first call."""
        if name not in self.tokens:
            account = {"email": f"{name}@example.org", "password": PASSWORD}
            made = self.http.post(self.url("auth", "/api/auth/register"), json=account)
            assert made.status_code == 201, made.text
            if role != "user":
                path = f"/internal/users/by-email/{name}@example.org/role"
                answer = self.http.put(self.url("auth", path), json={"role": role}, headers=SIDECAR)
                assert answer.status_code == 200, answer.text
            self.tokens[name] = self._log_in(account)
        return self.tokens[name]

    def fresh_token(self, name: str, *, role: str = "user") -> str:
        """A token that has its whole life before it."""
        self.token(name, role=role)
        self.tokens[name] = self._log_in({"email": f"{name}@example.org", "password": PASSWORD})
        return self.tokens[name]

    def _log_in(self, account: dict[str, str]) -> str:
        answer = self.http.post(self.url("auth", "/api/auth/login"), json=account)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    def bearer(self, name: str = "ann") -> dict[str, str]:
        """The header of a user's request."""
        return {"authorization": f"Bearer {self.token(name)}"}

    def call(
        self, method: str, path: str, *, user: str = "ann", service: str = "api", **options: Any
    ) -> httpx.Response:
        """A request of a user."""
        headers = self.bearer(user) | options.pop("headers", {})
        return self.http.request(method, self.url(service, path), headers=headers, **options)

    def create(self, *, user: str = "ann", **fields: Any) -> dict[str, Any]:
        """A new task."""
        answer = self.call("POST", "/api/tasks", user=user, json={"title": "Water plants", **fields})
        assert answer.status_code == 201, answer.text
        made: dict[str, Any] = answer.json()
        return made

    def rows(self, query: str, *values: Any) -> list[dict[str, Any]]:
        """What the database holds, read by its administrator."""
        with psycopg.connect(self.todo.admin_url, row_factory=dict_row) as link:
            return link.execute(query, values).fetchall()


@contextmanager
def stand(todo: TodoDatabase, *, sync: dict[str, Any] | None = None, **settings: Any) -> Iterator[Stand]:
    """The services, serving for the length of the block; `settings` are those of every service."""
    ports = {name: free_port() for name in NAMES}
    apps: dict[str, FastAPI] = {}
    fakes = {name: FakeSidecar(topics={"task-events", "task-updates", "reminders", "dlq-events"}) for name in NAMES}
    wanted = {"rate_limit_per_second": 0.0, "openapi": True} | settings
    servers = []
    for name in NAMES:
        fakes[name].apps = apps
        service = ServiceSettings(
            service_name=name,
            port=ports[name],
            dapr_http_port=1,
            dapr_api_token="dapr-token",
            app_api_token="app-token",
            service_token="service-token",
            database_url=todo.url(name) if name in {"auth", "api", "audit"} else "",
            **wanted,
        )
        sync_settings = SyncSettings(**({"origins": (ORIGIN,), "compare_seconds": 0.5} | (sync or {})))
        apps[name] = _app(name, service, sync_settings, fakes[name])
        servers.append(make_server(apps[name], service, socket_bytes=16 * 1024 if name == "sync" else 0))

    async def serve() -> None:
        await asyncio.gather(*(server.serve() for server in servers))

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="stand")
    thread.start()
    with httpx.Client(trust_env=False, timeout=30) as http:
        try:
            until(lambda: all(server.started for server in servers))
            yield Stand(todo, fakes, ports, apps, http)
        finally:
            for server in servers:
                server.should_exit = True
            thread.join(30)
            assert not thread.is_alive()


def _app(name: str, settings: ServiceSettings, sync: SyncSettings, fake: FakeSidecar) -> FastAPI:
    common: dict[str, Any] = {
        "settings": settings,
        "sidecar": Sidecar(http_port=1, api_token=fake.token, transport=fake.transport),
        "clock": lambda: datetime.now(UTC),
        "registry": CollectorRegistry(),
    }
    if settings.database_url:
        common["database"] = Database(settings.database_url, name=name, size=8)
    match name:
        case "auth":
            return auth_app(**common)
        case "api":
            return api_app(**common)
        case "audit":
            return audit_app(**common)
        case "recurring":
            return recurring_app(**common)
        case "notification":
            return notification_app(**common)
        case _:
            return sync_app(**common, sync=sync)


def until(look: Callable[[], Any], *, seconds: float = 20) -> Any:
    """What `look` gives, once it is true."""
    deadline = datetime.now(UTC).timestamp() + seconds
    while not (seen := look()):
        assert datetime.now(UTC).timestamp() < deadline, f"not within {seconds} s; seen last: {seen!r}"
        threading.Event().wait(0.02)
    return seen
