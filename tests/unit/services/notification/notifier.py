"""The notification service as its tests see it: deliveries in front, a sidecar, its neighbours and a mail server behind."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

import httpx
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from services.common.settings import ServiceSettings
from services.common.sidecar import Sidecar
from services.notification.app import create_app
from services.notification.post import Limits
from tests.unit.services.fake_broker import FakeClock
from tests.unit.services.fake_sidecar import FakeSidecar
from tests.unit.services.notification.smtp_server import SmtpServer
from tests.unit.services.records import bulk_body, record
from todoctl.core.dead_letters import DeadLetter

TOPIC = "reminders"
GUARD = {"dapr-api-token": "app-token"}
SETTINGS = ServiceSettings(
    service_name="notification",
    port=8003,
    dapr_http_port=1,
    dapr_api_token="dapr-token",
    app_api_token="app-token",
    service_token="service-token",
)


@dataclass
class FakeNeighbours:
    """auth with its users, api with its reminders."""

    users: dict[int, dict[str, Any]] = field(
        default_factory=lambda: {7: {"id": 7, "email": "ada@example.com", "zone": "Europe/Berlin", "role": "user"}}
    )
    current: bool = True
    status: int = 200
    asked: list[str] = field(default_factory=list)
    holds_next: bool = False
    held: asyncio.Event = field(default_factory=asyncio.Event)
    release: asyncio.Event = field(default_factory=asyncio.Event)

    async def look_up(self, request: Request) -> Response:
        """POST /internal/user-lookups."""
        ids = (await request.json())["ids"]
        return JSONResponse({"users": [self.users[id_] for id_ in ids if id_ in self.users]}, self.status)

    async def standing(self, request: Request) -> Response:
        """POST /internal/reminder-standings."""
        assert request.headers["x-service-token"] == "service-token"
        reminders = (await request.json())["reminders"]
        self.asked += [reminder["trigger_at"] for reminder in reminders]
        if self.holds_next:
            self.holds_next = False
            self.held.set()
            await self.release.wait()
        return JSONResponse({"current": [self.current] * len(reminders)}, self.status)


@dataclass
class Notifier:
    """One process of the service; several may share the sidecar's store, the neighbours and the server."""

    http: httpx.AsyncClient
    sidecar: FakeSidecar
    neighbours: FakeNeighbours
    clock: FakeClock
    smtp: SmtpServer

    async def deliver(self, value: bytes | None = None, *, offset: int = 1) -> str:
        """Deliver one record as daprd does; its status."""
        [status] = await self.deliver_all([record(TOPIC) if value is None else value], offset=offset)
        return status

    async def deliver_all(self, values: list[bytes], *, offset: int = 1) -> list[str]:
        """Deliver many records of one partition; their statuses."""
        content = bulk_body(values, TOPIC, first_offset=offset)
        answer = await self.http.post("/events/reminders", content=content, headers=GUARD)
        assert answer.status_code == 200
        return [str(entry["status"]) for entry in answer.json()["statuses"]]

    @property
    def mails(self) -> list[EmailMessage]:
        """The mails that the server took."""
        return [message_from_bytes(content, policy=default) for content in self.smtp.mails]

    @property
    def results(self) -> list[dict[str, Any]]:
        """The published results, each event once."""
        found = {sent.envelope["id"]: sent.envelope["data"] for sent in self.sidecar.records if sent.topic == TOPIC}
        return list(found.values())

    @property
    def told(self) -> list[str]:
        """The kinds of the published results."""
        return [result["event_type"] for result in self.results]

    @property
    def letters(self) -> list[DeadLetter]:
        """The dead letters that the service sent."""
        letters = [sent for sent in self.sidecar.records if sent.topic == "dlq-events"]
        return [DeadLetter.model_validate(sent.envelope["data"]) for sent in letters]

    @property
    def intents(self) -> list[dict[str, Any]]:
        """The stored intents."""
        return [json.loads(value) for value in self.sidecar.state.values()]

    @asynccontextmanager
    async def another(self) -> AsyncIterator[Notifier]:
        """Another process of the service: this one was killed, or works beside it."""
        async with process(self.sidecar, self.neighbours, self.clock, self.smtp) as made:
            yield made


@asynccontextmanager
async def process(
    fake: FakeSidecar, neighbours: FakeNeighbours, clock: FakeClock, smtp: SmtpServer
) -> AsyncIterator[Notifier]:
    """A running service."""
    sidecar = Sidecar(http_port=1, api_token=fake.token, transport=fake.transport)
    app = create_app(
        settings=SETTINGS,
        sidecar=sidecar,
        clock=clock,
        registry=CollectorRegistry(),
        page="http://todo.example/",
        limits=Limits(command_seconds=0.5, data_seconds=0.5),
    )
    transport = httpx.ASGITransport(app)
    async with (
        httpx.AsyncClient(transport=transport, base_url="http://notification") as http,
        app.router.lifespan_context(app),
    ):
        yield Notifier(http, fake, neighbours, clock, smtp)


@asynccontextmanager
async def running(server: SmtpServer | None = None, **secret: str) -> AsyncIterator[Notifier]:
    """The service with fresh surroundings."""
    neighbours, smtp = FakeNeighbours(), server or SmtpServer()
    routes = [
        Route("/internal/user-lookups", neighbours.look_up, methods=["POST"]),
        Route("/internal/reminder-standings", neighbours.standing, methods=["POST"]),
    ]
    app = Starlette(routes=routes)
    fake = FakeSidecar(topics={"reminders", "dlq-events"}, apps={"auth": app, "api": app})
    async with smtp.running():
        account = {"host": "127.0.0.1", "port": str(smtp.port), "tls": "none", "sender": "Todo <todo@todo.example>"}
        fake.secrets["smtp"] = account | secret
        async with process(fake, neighbours, FakeClock(), smtp) as made:
            yield made
