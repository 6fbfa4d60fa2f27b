"""Serving: one process, and a stop that first says so, then lets running requests finish."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import signal
import socket
from types import FrameType

import uvicorn
from fastapi import FastAPI

from services.common import listener as listeners
from services.common import logs
from services.common.protocol import BoundedProtocol, LightWebSocketProtocol
from services.common.settings import ServiceSettings

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8


class _Server(uvicorn.Server):
    """Answers 503 on /readyz from the first SIGTERM on, and stops listening `drain` seconds later.

    Meanwhile each answer closes its connection, so that kept ones move on, and new ones go to a neighbour on the port.
    """

    def __init__(self, config: uvicorn.Config, app: FastAPI, drain: float, shared: socket.socket | None) -> None:
        super().__init__(config)
        self._app, self._drain, self._shared = app, drain, shared

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        super().run(sockets or ([self._shared] if self._shared else None))

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        first = not self._app.state.draining
        self._app.state.draining = True
        if first and self._drain and sig == signal.SIGTERM:
            self._see_off()
            # A balancer needs this long to see that we are not ready; a second signal does not wait for it.
            asyncio.get_running_loop().call_later(self._drain, super().handle_exit, sig, frame)
        else:
            super().handle_exit(sig, frame)

    def _see_off(self) -> None:
        self.config.encoded_headers.append((b"connection", b"close"))
        self.server_state.default_headers = [*self.server_state.default_headers, (b"connection", b"close")]
        if self._shared is not None:
            with contextlib.suppress(OSError):
                listeners.leave_to_neighbour(self._shared)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if self._app.state.farewell is not None:
            await self._app.state.farewell()
        await super().shutdown(sockets)


def run(app: FastAPI, settings: ServiceSettings, *, socket_bytes: int = 0) -> None:
    """Serve `app` until SIGTERM or SIGINT; returns once everything has finished.

    `socket_bytes` is how large a WebSocket message may be; with 0 there are no WebSockets.
    """
    _give_memory_back()
    logs.configure(settings.service_name, settings.log_level)
    server = make_server(app, settings, socket_bytes=socket_bytes)
    # uvicorn raises the signal again after a clean stop; a clean stop is exit code 0 here.
    for stop in (signal.SIGTERM, signal.SIGINT):
        signal.signal(stop, lambda *_: None)
    _collect_less()
    server.run()
    if not server.started:
        raise SystemExit(1)


def _give_memory_back() -> None:
    """Have the C library return large blocks at once, and keep few pools; without glibc there is nothing to say."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        # By itself it learns from the first 19 MiB of a password's hash to keep as much for later.
        # Source: man 3 mallopt, glibc's malloc.h.
        for parameter, value in ((_M_MMAP_THRESHOLD, 256 * 1024), (_M_TRIM_THRESHOLD, 256 * 1024), (_M_ARENA_MAX, 2)):
            mallopt(parameter, value)


def _collect_less() -> None:
    """Keep the garbage collector from walking through all modules every few requests."""
    gc.collect()
    gc.freeze()
    # A request or a batch leaves hardly any cycles; the defaults are for programs that do.
    gc.set_threshold(10_000, 20, 20)


def make_server(app: FastAPI, settings: ServiceSettings, *, socket_bytes: int = 0) -> uvicorn.Server:
    """The server that `run` runs."""
    config = uvicorn.Config(
        app.state.entrance or app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=True,
        # Forwarded headers are a client's word; the peer's own address is what counts.
        proxy_headers=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=settings.graceful_seconds,
        http=BoundedProtocol,
        ws=LightWebSocketProtocol if socket_bytes else "none",
        ws_max_size=socket_bytes,
        # Socket.IO has its own pings; compression would cost memory for each connection.
        ws_ping_interval=None,
        ws_per_message_deflate=False,
    )
    shared = listeners.shared(settings.host, settings.port) if settings.shares_port else None
    return _Server(config, app, settings.drain_seconds, shared)
