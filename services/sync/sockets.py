"""The Socket.IO server: who may connect, what clients may send, and how connections end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import engineio
import socketio
from socketio.exceptions import ConnectionRefusedError as Refusal

from services.common.failures import Unavailable
from services.common.queues import LightQueue
from services.common.tokens import MAX_TOKEN, InvalidTokenError, Principal, TokenVerifier
from services.sync.handlers import Cursor, cursor_of
from services.sync.metrics import SyncMetrics
from services.sync.rooms import Connection, Rooms
from services.sync.settings import SyncSettings

_log = logging.getLogger(__name__)

# At INFO it would log what each message says; handed over, it brings no handler of its own.
_library_log = logging.getLogger("services.sync.socketio")
_library_log.setLevel(logging.WARNING)

_FLUSH_SECONDS = 0.3
# Messages that may wait for a client while it catches up; more come when these have gone out.
_FEW = 200


class _Transports(engineio.AsyncServer):  # type: ignore[misc]
    def create_queue(self, *_args: Any, **_options: Any) -> Any:
        return LightQueue()


class _Server(socketio.AsyncServer):  # type: ignore[misc]
    def _engineio_server_class(self) -> type[engineio.AsyncServer]:
        return _Transports


def make_server(settings: SyncSettings) -> Any:
    """The Socket.IO server, without handlers yet."""
    return _Server(
        async_mode="asgi",
        cors_allowed_origins=list(settings.origins),
        # Tokens come in the connect message; a cookie has no part in it.
        cors_credentials=False,
        max_http_buffer_size=settings.message_bytes,
        ping_interval=settings.ping_interval,
        ping_timeout=settings.ping_timeout,
        http_compression=False,
        logger=_library_log,
        engineio_logger=_library_log,
    )


def room_of(user_id: int) -> str:
    """The name of a user's room."""
    return f"user-{user_id}"


class SocketOutlet:
    """Messages to rooms and to single connections."""

    def __init__(self, server: Any) -> None:
        self._server = server

    async def to_room(self, user_id: int, event: str, message: Any, but: Sequence[str]) -> None:
        """To all connections of a user but some; the message is encoded once."""
        await self._server.emit(event, message, room=room_of(user_id), skip_sid=list(but))

    async def to_one(self, sid: str, event: str, message: Any) -> None:
        """To one connection."""
        await self._server.emit(event, message, to=sid)

    async def drained(self, sid: str) -> None:
        """Wait until a connection's client has taken most of what it was sent."""
        socket = self._server.eio.sockets.get(self._server.manager.eio_sid_from_sid(sid, "/"))
        while socket is not None and not socket.closed and socket.queue.qsize() > _FEW:  # noqa: ASYNC110 - it is the library's queue
            await asyncio.sleep(0.02)


class Sockets:
    """The handlers of the server's events."""

    def __init__(
        self,
        server: Any,
        rooms: Rooms,
        verifier: TokenVerifier,
        *,
        settings: SyncSettings,
        metrics: SyncMetrics,
        clock: Callable[[], datetime],
    ) -> None:
        self._server, self._rooms, self._verifier = server, rooms, verifier
        self._settings, self._metrics, self._clock = settings, metrics, clock
        self._openings: set[asyncio.Task[None]] = set()
        self._is_ending = False
        server.on("connect", self._connect)
        server.on("disconnect", self._disconnect)
        server.on("token.refresh", self._refresh)

    async def close(self, sid: str, reason: str) -> None:
        """Tell a client why, then disconnect it; its library does not connect again by itself."""
        self._metrics.closed.labels(reason).inc()
        transport = self._server.manager.eio_sid_from_sid(sid, "/")
        await self._server.emit("sync.closing", {"reason": reason}, to=sid)
        await self._server.disconnect(sid)
        await self._cut(transport)

    async def close_transports(self, transports: Sequence[str], reason: str) -> None:
        """Cut connections below Socket.IO: a client's library connects again by itself."""
        for transport in transports:
            self._metrics.closed.labels(reason).inc()
            await self._cut(transport)

    async def close_expired(self) -> None:
        """Close the connections whose token has expired."""
        now = self._clock().timestamp()
        for connection in list(self._rooms.connections.values()):
            if connection.expires_at <= now:
                await self.close(connection.sid, "token_expired")

    async def farewell(self) -> None:
        """Tell all clients to connect again, elsewhere or later, and close; nobody new is let in."""
        self._is_ending = True
        await self._server.emit("sync.closing", {"reason": "restarting"})
        await self.close_transports(list(self._server.eio.sockets), "restarting")
        # What was put into the queues goes out before the server closes the transports.
        await asyncio.sleep(_FLUSH_SECONDS if self._rooms.connections else 0)

    async def _connect(self, sid: str, environ: Any, auth: Any = None) -> None:
        # The library keeps the request for as long as the connection lives, and asks it nothing more.
        environ.clear()
        auth = auth if isinstance(auth, dict) else {}
        cursor = cursor_of(auth.get("cursor"))
        principal = await self._admitted(auth.get("token"))
        if cursor is None:
            raise self._refusal("invalid_cursor", "cursor must be a number, 0 or more")
        # No waiting from here to `join`, so that the limit holds.
        if self._is_ending:
            raise self._refusal("restarting", "this replica is about to end; connect again")
        if len(self._rooms.connections) >= self._settings.sockets:
            raise self._refusal("unavailable", "this replica has as many sockets as it can serve; connect again")
        if self._rooms.size(principal.user_id) >= self._settings.sockets_per_user:
            raise self._refusal("too_many_connections", f"at most {self._settings.sockets_per_user} for each user")
        connection = Connection(sid, principal.user_id, principal.expires_at, self._clock(), Cursor(cursor))
        self._rooms.join(connection)
        await self._server.enter_room(sid, room_of(principal.user_id))
        opening = asyncio.create_task(self._open(connection))
        self._openings.add(opening)
        opening.add_done_callback(self._openings.discard)

    async def _open(self, connection: Connection) -> None:
        """Let messages go to a client once it has been told that it is connected."""
        while connection.sid in self._rooms.connections:
            if self._server.manager.is_connected(connection.sid, "/"):
                self._rooms.catch_up(connection, "connect")
                return
            await asyncio.sleep(0.005)

    async def _disconnect(self, sid: str, reason: Any = None) -> None:
        connection = self._rooms.leave(sid)
        if connection is not None:
            _log.info("disconnected", extra={"user_id": connection.user_id, "reason": str(reason)[:50]})

    async def _refresh(self, sid: str, body: Any = None) -> dict[str, Any]:
        """`token.refresh` {token}: go on with a newer token of the same user."""
        connection = self._rooms.connections.get(sid)
        if connection is None:
            return {"ok": False, "error": "not_connected"}
        try:
            principal = await self._verified(body.get("token") if isinstance(body, dict) else None)
        except InvalidTokenError as error:
            return {"ok": False, "error": "invalid_token", "detail": error.detail}
        except Unavailable:
            return {"ok": False, "error": "unavailable"}
        if principal.user_id != connection.user_id:
            return {"ok": False, "error": "other_user"}
        connection.expires_at = max(connection.expires_at, principal.expires_at)
        return {"ok": True, "expires_at": connection.expires_at}

    async def _cut(self, transport: str) -> None:
        socket = self._server.eio.sockets.get(transport)
        if socket is not None:
            # Neither waits for the client: the end of its queue makes the library close.
            await socket.close(wait=False, reason=self._server.reason.SERVER_DISCONNECT)
            await socket.queue.put(None)

    async def _admitted(self, token: Any) -> Principal:
        try:
            return await self._verified(token)
        except InvalidTokenError as error:
            raise self._refusal("invalid_token", error.detail) from error
        except Unavailable as error:
            raise self._refusal("unavailable", "the access token can't be checked now; connect again") from error

    async def _verified(self, token: Any) -> Principal:
        if not isinstance(token, str) or not 0 < len(token) <= MAX_TOKEN:
            raise InvalidTokenError("send an access token as auth.token")
        return await self._verifier.verify(token)

    def _refusal(self, reason: str, detail: str) -> Refusal:
        self._metrics.refused.labels(reason).inc()
        return Refusal(reason, {"reason": reason, "detail": detail})
