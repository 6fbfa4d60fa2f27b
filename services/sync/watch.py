"""What happens by the clock: tokens expire, connections are compared with api and stored, idle transports are cut."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from services.common.failures import Unavailable
from services.sync.presence import Presence
from services.sync.rooms import Rooms
from services.sync.settings import SyncSettings
from services.sync.sockets import Sockets

_log = logging.getLogger(__name__)


class Watch:
    """The periodic work of one replica."""

    def __init__(
        self, server: Any, sockets: Sockets, rooms: Rooms, presence: Presence, *, settings: SyncSettings
    ) -> None:
        self._server, self._sockets, self._rooms = server, sockets, rooms
        self._presence, self._settings = presence, settings
        self._strangers: dict[str, float] = {}

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(_every(1.0, self._sockets.close_expired))
            group.create_task(_every(1.0, self._cut))
            group.create_task(_every(1.0, lambda: self._presence.tell(self._rooms.connections)))
            group.create_task(_every(self._settings.compare_seconds, self._rooms.compare))

    async def _cut(self) -> None:
        """Cut transports that never say who they are, and those whose client does not take what it is sent."""
        transports = dict(self._server.eio.sockets)
        places = {sid: self._server.manager.eio_sid_from_sid(sid, "/") for sid in self._rooms.connections}
        for sid in [sid for sid, transport in places.items() if transport not in transports]:
            # It ended while it was still being let in.
            self._rooms.leave(sid)
        known = set(places.values())
        now = time.monotonic()
        self._strangers = {name: self._strangers.get(name, now) for name in transports.keys() - known}
        late = [name for name, since in self._strangers.items() if now - since > self._settings.login_seconds]
        await self._sockets.close_transports(late, "no_login")
        slow = [name for name, socket in transports.items() if socket.queue.qsize() > self._settings.queue]
        await self._sockets.close_transports(slow, "too_slow")


async def _every(seconds: float, work: Callable[[], Awaitable[None]]) -> None:
    while True:
        await asyncio.sleep(seconds)
        try:
            await work()
        except Unavailable as error:
            _log.warning("api can't be asked: %s", error)
        except Exception:  # noqa: BLE001 - one failed round must not end the rounds; it is logged with its traceback
            _log.exception("a round of the watch failed")
