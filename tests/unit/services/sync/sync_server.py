"""sync as its clients see it: a real server on a port, a sidecar with auth and an api of changes behind."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import engineio
import httpx
import socketio
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from services.common.server import make_server
from services.common.settings import ServiceSettings
from services.common.sidecar import Sidecar
from services.sync.app import create_app
from services.sync.settings import SyncSettings
from tests.unit.services import access_tokens
from tests.unit.services.fake_sidecar import FakeSidecar
from tests.unit.services.postgres_server import free_port
from tests.unit.services.records import origin_headers, record, single_body, task
from todoctl.core.events import TaskChange

ORIGIN = "http://page.example"


class _OrderedTransport(engineio.Client):
    """Handles messages one after the other as they came; the library's own gives each a thread."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="messages")

    def _trigger_event(self, event: str, *args: Any, **settings: Any) -> Any:
        if event == "message":
            return self._worker.submit(self.handlers[event], *args)
        if not threading.current_thread().name.startswith("messages"):
            self._worker.submit(bool).result(10)  # what came before is handled before
        return super()._trigger_event(event, *args, **settings)


class _OrderedClient(socketio.Client):
    def _engineio_client_class(self) -> type[engineio.Client]:
        return _OrderedTransport


def now() -> datetime:
    """The real time: tokens run out by it."""
    return datetime.now(UTC)


def token(user_id: int = 7, *, lives: float = 3600) -> str:
    """A token of a user with so many seconds left."""
    return access_tokens.token(user_id, now=now() + timedelta(seconds=lives - 3600))


@dataclass
class FakeApi:
    """Knows each user's changes, from the floor on."""

    changes: dict[int, list[int]] = field(default_factory=dict)
    floors: dict[int, int] = field(default_factory=dict)
    is_away: bool = False
    reads: int = 0

    def add(self, user_id: int, *numbers: int) -> None:
        """Commit changes."""
        self.changes.setdefault(user_id, []).extend(numbers)

    def head(self, user_id: int) -> int:
        return max(self.changes.get(user_id, []), default=0)

    def app(self) -> Starlette:
        """The internal routes, as the real api has them."""
        routes = [
            Route("/internal/users/{user_id:int}/changes", self._changes),
            Route("/internal/heads", self._heads, methods=["POST"]),
        ]
        return Starlette(routes=routes)

    async def _changes(self, request: Request) -> Response:
        if request.headers.get("x-service-token") != "service-token":
            return JSONResponse({}, 401)
        if self.is_away:
            return JSONResponse({}, 503)
        self.reads += 1
        user_id, given = request.path_params["user_id"], request.query_params.get("since")
        head = self.head(user_id)
        since = -1 if given is None else int(given)
        if not self.floors.get(user_id, 0) <= since <= head:
            return JSONResponse({"items": [], "cursor": head, "head": head, "resync": True})
        found = sorted(number for number in self.changes.get(user_id, []) if number > since)[:3]
        cursor = found[-1] if len(found) == 3 else head
        items = [_change(user_id, number) for number in found]
        return JSONResponse({"items": items, "cursor": cursor, "head": head, "resync": False})

    async def _heads(self, request: Request) -> Response:
        if self.is_away:
            return JSONResponse({}, 503)
        users = (await request.json())["user_ids"]
        return JSONResponse({"heads": {str(user): self.head(user) for user in users if user in self.changes}})


def _change(user_id: int, number: int) -> dict[str, Any]:
    view = task(id=number, user_id=user_id).model_dump(mode="json")
    return {"user_seq": number, "changed": ["status"], "occurred_at": "2030-01-31T09:00:00Z", "task": view}


@dataclass
class Client:
    """A client, and what it was told."""

    library: Any
    messages: queue.Queue[tuple[str, Any]]

    def close(self) -> None:
        """Disconnect, and free what the library holds on to when the server was first."""
        self.library.disconnect()
        if self.library.eio.ws is not None:
            self.library.eio.ws.shutdown()

    def next(self, event: str, *, seconds: float = 10) -> Any:
        """The next message; it must be this event."""
        name, message = self.messages.get(timeout=seconds)
        assert name == event, (name, message)
        return message

    def numbers(self, count: int) -> list[int]:
        """The numbers of the next task.sync messages."""
        return [self.next("task.sync")["user_seq"] for _ in range(count)]


@dataclass
class Replica:
    """One running replica."""

    port: int
    server: Any
    sidecar: FakeSidecar
    api: FakeApi
    registry: CollectorRegistry
    http: httpx.Client
    clients: list[Client] = field(default_factory=list)
    offset: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def deliver(self, user_id: int, user_seq: int) -> None:
        """Deliver an update from the topic, as daprd does."""
        self.offset += 1
        payload = TaskChange(task=task(id=user_seq, user_id=user_id), changed=("status",))
        value = record("task-updates", user_id=user_id, user_seq=user_seq, payload=payload, occurred_at=now())
        headers = {"dapr-api-token": "app-token"} | origin_headers("task-updates", offset=self.offset)
        body = single_body(value, "task-updates")
        answer = self.http.post(f"{self.url}/events/task-updates", content=body, headers=headers)
        assert answer.json() == {"status": "SUCCESS"}

    def happen(self, user_id: int, user_seq: int) -> None:
        """Commit a change and deliver its update."""
        self.api.add(user_id, user_seq)
        self.deliver(user_id, user_seq)

    def client(self, *, auth: Any = None, origin: str | None = None, transport: str = "websocket") -> Client:
        """A connected client; a refusal is socketio's ConnectionError."""
        messages: queue.Queue[tuple[str, Any]] = queue.Queue()
        # By itself the library would name the server as its origin.
        library = _OrderedClient(reconnection=False, websocket_extra_options={"suppress_origin": True})
        library.on("*", lambda event, message=None: messages.put((event, message)))
        library.on("connect_error", lambda message=None: messages.put(("connect_error", message)))
        library.on("disconnect", lambda reason=None: messages.put(("disconnect", reason)))
        made = Client(library, messages)
        self.clients.append(made)
        auth = {"token": token(), "cursor": 0} if auth is None else auth
        headers = {} if origin is None else {"Origin": origin}
        library.connect(self.url, auth=auth, headers=headers, transports=[transport], wait_timeout=5)
        return made

    def ready(self, user_id: int = 7, cursor: int = 0) -> Client:
        """A client that has caught up with nothing missed."""
        made = self.client(auth={"token": token(user_id), "cursor": cursor})
        assert made.next("sync.ready") == {"cursor": cursor}
        return made

    def sample(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0

    def states(self) -> list[dict[str, Any]]:
        """The connections in Dapr's state."""
        return [json.loads(value) for value in list(self.sidecar.state.values())]


@contextmanager
def replica(api: FakeApi, name: str = "sync-0", **settings: Any) -> Iterator[Replica]:
    """A replica, serving for the length of the block."""
    fake = FakeSidecar(topics={"dlq-events"}, apps={"api": api.app(), "auth": access_tokens.auth_app()})
    port, registry = free_port(), CollectorRegistry()
    service = ServiceSettings(
        service_name="sync",
        port=port,
        dapr_http_port=1,
        dapr_api_token="dapr-token",
        app_api_token="app-token",
        service_token="service-token",
    )
    sync = SyncSettings(**({"origins": (ORIGIN,), "replica": name, "compare_seconds": 0.3} | settings))
    sidecar = Sidecar(http_port=1, api_token=fake.token, transport=fake.transport)
    app = create_app(settings=service, sync=sync, sidecar=sidecar, clock=now, registry=registry)
    server = make_server(app, service, socket_bytes=sync.message_bytes)
    thread = threading.Thread(target=server.run)
    thread.start()
    with httpx.Client(trust_env=False, timeout=10) as http:
        made = Replica(port, server, fake, api, registry, http)
        try:
            until(lambda: server.started)
            yield made
        finally:
            for client in made.clients:
                client.close()
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


def until(look: Callable[[], Any], *, seconds: float = 10) -> Any:
    """What `look` gives, once it is true."""
    deadline = time.monotonic() + seconds
    while not (seen := look()):
        assert time.monotonic() < deadline, f"not within {seconds} s; seen last: {seen!r}"
        threading.Event().wait(0.02)
    return seen
