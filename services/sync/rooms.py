"""The connections of this replica, a room for each user: every update goes to each of them in order."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from services.common.failures import Unavailable
from services.sync.handlers import Cursor, Page, Update, stale
from services.sync.metrics import SyncMetrics

_log = logging.getLogger(__name__)

_LONGEST_PAUSE = 3.0


class Outlet(Protocol):
    """Where messages go out."""

    async def to_room(self, user_id: int, event: str, message: Any, but: Sequence[str]) -> None:
        """To all connections of a user but some; the message is encoded once."""

    async def to_one(self, sid: str, event: str, message: Any) -> None:
        """To one connection."""

    async def drained(self, sid: str) -> None:
        """Wait until a connection's client has taken most of what it was sent."""


class Log(Protocol):
    """Where missed changes are read."""

    async def after(self, user_id: int, position: int) -> Page:
        """The changes after a position."""

    async def heads(self, users: Sequence[int]) -> dict[int, int]:
        """The number of each user's last change."""


@dataclass(eq=False, slots=True)
class Connection:
    """One client; until it is caught up it is in the room only to be left out."""

    sid: str
    user_id: int
    expires_at: int
    since: datetime
    cursor: Cursor
    is_open: bool = False
    is_ready: bool = False
    reading: asyncio.Task[None] | None = None


@dataclass(slots=True)
class _Room:
    connections: set[Connection] = field(default_factory=set)
    # Messages to a user leave one after another, whoever sends them.
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Rooms:
    """All rooms; `open` and `leave` are called by the sockets, `deliver` by the subscription, `compare` by the clock."""

    def __init__(self, outlet: Outlet, log: Log, metrics: SyncMetrics, clock: Callable[[], datetime]) -> None:
        self._outlet, self._log, self._metrics, self._clock = outlet, log, metrics, clock
        self._rooms: dict[int, _Room] = {}
        self.connections: dict[str, Connection] = {}

    def size(self, user_id: int) -> int:
        """How many connections the user has here."""
        room = self._rooms.get(user_id)
        return len(room.connections) if room else 0

    def join(self, connection: Connection) -> None:
        """Take a connection in; it receives nothing live before `catch_up` has brought it to the user's last change."""
        self.connections[connection.sid] = connection
        self._rooms.setdefault(connection.user_id, _Room()).connections.add(connection)
        self._metrics.connections.set(len(self.connections))
        connection.cursor.start_reading()

    def leave(self, sid: str) -> Connection | None:
        """Let a connection go."""
        connection = self.connections.pop(sid, None)
        if connection is None:
            return None
        self._metrics.connections.set(len(self.connections))
        room = self._rooms[connection.user_id]
        room.connections.discard(connection)
        if not room.connections:
            del self._rooms[connection.user_id]
        if connection.reading is not None:
            connection.reading.cancel()
        return connection

    async def deliver(self, user_id: int, update: Update, occurred_at: datetime) -> None:
        """Send a live update to each of the user's connections whose turn it is; the others read what is missing."""
        room = self._rooms.get(user_id)
        if room is None:
            return
        async with room.lock:
            answers = {connection: connection.cursor.offer(update) for connection in room.connections}
            in_turn = {connection for connection, ready in answers.items() if ready == (update,)}
            if in_turn:
                but = [connection.sid for connection in answers.keys() - in_turn]
                await self._outlet.to_room(user_id, "task.sync", update.message, but)
                self._metrics.emitted.labels("live").inc(len(in_turn))
                self._metrics.lag.observe(max(0.0, (self._clock() - occurred_at).total_seconds()))
            for connection in answers.keys() - in_turn:
                await self._send(connection, answers[connection], "live")
        self._read_behind(answers, "gap")

    async def compare(self) -> None:
        """Compare where every connection is with where its user's changes end; those behind read what is missing.

        Raises:
            Unavailable: api can't say now.
        """
        before = {user: self._positions(room) for user, room in self._rooms.items()}
        for user, head in (await self._log.heads(list(before))).items():
            room = self._rooms.get(user)
            late = stale(before[user], self._positions(room), head) if room else ()
            for sid in late:
                self.catch_up(self.connections[sid], "head")

    def catch_up(self, connection: Connection, cause: str) -> None:
        """Have a connection read what it has not seen; one that does already goes on."""
        connection.is_open = True
        if connection.reading is None:
            self._metrics.catch_ups.labels(cause).inc()
            connection.cursor.start_reading()
            connection.reading = asyncio.create_task(self._read_on(connection))

    async def aclose(self) -> None:
        """Stop all reading."""
        tasks = [connection.reading for connection in self.connections.values() if connection.reading]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _read_behind(self, connections: Iterable[Connection], cause: str) -> None:
        for connection in connections:
            if connection.cursor.is_behind and connection.is_open and connection.sid in self.connections:
                self.catch_up(connection, cause)

    @staticmethod
    def _positions(room: _Room) -> dict[str, int]:
        # Also one whose reading ended in a bug: it is tried again rather than left stale.
        return {item.sid: item.cursor.position for item in room.connections if item.is_open and item.reading is None}

    async def _read_on(self, connection: Connection) -> None:
        room = self._rooms[connection.user_id]
        try:
            while connection.cursor.is_reading:
                page = await self._page(connection)
                async with room.lock:
                    await self._take(connection, page)
                await self._outlet.drained(connection.sid)
        except Exception:  # noqa: BLE001 - a bug must not end in silence: it is logged, and `compare` starts anew
            _log.exception("catching up failed", extra={"user_id": connection.user_id})
        finally:
            connection.reading = None

    async def _page(self, connection: Connection) -> Page:
        pause = 0.1
        while True:
            try:
                return await self._log.after(connection.user_id, connection.cursor.position)
            except Unavailable as error:
                _log.warning("catching up waits: %s", error, extra={"user_id": connection.user_id})
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - jitter, no secret
            pause = min(_LONGEST_PAUSE, pause * 2)

    async def _take(self, connection: Connection, page: Page) -> None:
        updates = connection.cursor.read(page)
        if page.is_resync:
            await self._outlet.to_one(connection.sid, "task.resync", {"cursor": page.cursor})
        await self._send(connection, updates, "caught_up")
        if not connection.cursor.is_reading and not connection.is_ready:
            connection.is_ready = True
            await self._outlet.to_one(connection.sid, "sync.ready", {"cursor": connection.cursor.position})

    async def _send(self, connection: Connection, updates: Sequence[Update], source: str) -> None:
        for update in updates:
            await self._outlet.to_one(connection.sid, "task.sync", update.message)
        self._metrics.emitted.labels(source).inc(len(updates))
