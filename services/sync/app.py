"""The application of sync: Socket.IO for clients, the route of its subscription, and the watch beside."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import engineio
from fastapi import Depends, FastAPI
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp, Receive, Scope, Send

from services.common.breaker import Clock
from services.common.consumer import EVENT_BODY_LIMIT, ONE_EVENT, EventMetrics, EventRoute, consumer_check
from services.common.delivery import AnyEvent
from services.common.guard import require_app_token
from services.common.jwks import JwksCache, jwks_through
from services.common.limits import BodyLimitMiddleware
from services.common.settings import ServiceSettings
from services.common.sidecar import Sidecar
from services.common.tokens import TokenVerifier
from services.common.webapp import make_app, sidecar_check
from services.sync.changes import ChangeLog
from services.sync.handlers import live
from services.sync.limits import ClientLimits
from services.sync.metrics import SyncMetrics
from services.sync.presence import Presence
from services.sync.rooms import Rooms
from services.sync.settings import SyncSettings
from services.sync.sockets import SocketOutlet, Sockets, make_server
from services.sync.watch import Watch
from todoctl.core.dead_letters import Origin
from todoctl.core.events import TASK_UPDATES, TaskUpdateEvent

_PATH = "/socket.io"


class _SocketsFirst:
    """Leads a WebSocket past the layers for requests, each of which would hold memory for as long as it is open."""

    def __init__(self, app: ASGIApp, sockets: ASGIApp) -> None:
        self._app, self._sockets = app, sockets

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_socket = scope["type"] == "websocket" and scope["path"].startswith(f"{_PATH}/")
        await (self._sockets if is_socket else self._app)(scope, receive, send)


def create_app(
    *, settings: ServiceSettings, sync: SyncSettings, sidecar: Sidecar, clock: Clock, registry: CollectorRegistry
) -> FastAPI:
    """The application; it connects to nothing before it is asked something."""
    metrics, server = SyncMetrics(registry), make_server(sync)
    rooms = Rooms(SocketOutlet(server), ChangeLog(sidecar, service_token=settings.service_token), metrics, clock)
    keys = JwksCache(jwks_through(sidecar), clock)
    verifier = TokenVerifier.of(keys, settings, clock)
    sockets = Sockets(server, rooms, verifier, settings=sync, metrics=metrics, clock=clock)
    presence = Presence(sidecar, replica=sync.replica, clock=clock)
    route = _route(rooms, sidecar, clock, registry)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        watch = asyncio.create_task(Watch(server, sockets, rooms, presence, settings=sync).run())
        yield
        watch.cancel()
        with suppress(asyncio.CancelledError):
            await watch
        await rooms.aclose()
        await server.shutdown()
        await presence.end()
        await sidecar.aclose()

    checks = {
        "sidecar": sidecar_check(sidecar),
        "consumer": consumer_check(route.consumer),
        "keys": keys.missing,
    }
    app = make_app(
        title="sync",
        registry=registry,
        checks=checks,
        lifespan=lifespan,
        body_limit=EVENT_BODY_LIMIT,
        openapi=settings.openapi,
        takes_work=settings.takes_work,
    )
    app.state.farewell = sockets.farewell
    guard = Depends(require_app_token(settings.app_api_token))
    path, name = "/events/task-updates", "receive_task_updates"
    app.add_api_route(path, route.endpoint, methods=["POST"], dependencies=[guard], name=name, **ONE_EVENT)
    limited = _limited(server, sync, metrics)
    app.mount(_PATH, BodyLimitMiddleware(limited, limit=sync.message_bytes))
    app.state.entrance = _SocketsFirst(app, limited)
    return app


def _limited(server: Any, sync: SyncSettings, metrics: SyncMetrics) -> ClientLimits:
    # Not Socket.IO's own application, which does nothing but to pass all on to this.
    transports = engineio.ASGIApp(server.eio, engineio_path=None)
    return ClientLimits(
        transports, per_second=sync.messages_per_second, message_bytes=sync.message_bytes, metrics=metrics
    )


def _route(rooms: Rooms, sidecar: Sidecar, clock: Clock, registry: CollectorRegistry) -> EventRoute:
    async def handle(event: AnyEvent, _: Origin) -> None:
        if isinstance(event, TaskUpdateEvent):
            await rooms.deliver(event.user_id, live(event), event.occurred_at)

    return EventRoute(
        handle,
        consumer="sync",
        topic=TASK_UPDATES,
        sidecar=sidecar,
        clock=clock,
        metrics=EventMetrics.in_registry(registry),
    )
