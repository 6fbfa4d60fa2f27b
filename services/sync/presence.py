"""The connections in Dapr's state: one key for each, gone with the connection, or by itself when the process died."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Protocol

from services.common.failures import ServiceFailure
from services.sync.rooms import Connection

_log = logging.getLogger(__name__)

LIFETIME = 90  # seconds after which a key that nobody renews is gone
_RENEWAL = timedelta(seconds=30)
_BATCH = 100
_FAREWELL_SECONDS = 2.0


class State(Protocol):
    """The part of the sidecar that is used."""

    async def change_state(self, saved: Mapping[str, Any], deleted: list[str], *, ttl_seconds: int) -> None:
        """Save and delete keys together."""


class Presence:
    """Brings the state in line with the connections there are; what fails is done the next time."""

    def __init__(self, state: State, *, replica: str, clock: Callable[[], datetime]) -> None:
        self._state, self._replica, self._clock = state, replica, clock
        self._saved: dict[str, datetime] = {}

    async def tell(self, connections: Mapping[str, Connection]) -> None:
        """Save what is new or due for renewal, delete what has gone."""
        now = self._clock()
        fresh = {self._key(sid): connection for sid, connection in connections.items()}
        due = [key for key in fresh if key not in self._saved or now - self._saved[key] >= _RENEWAL]
        gone = [key for key in self._saved if key not in fresh]
        while due or gone:
            saving, due = due[:_BATCH], due[_BATCH:]
            deleting, gone = gone[:_BATCH], gone[_BATCH:]
            values = {key: self._value(fresh[key]) for key in saving}
            try:
                await self._state.change_state(values, deleting, ttl_seconds=LIFETIME)
            except ServiceFailure as error:
                _log.warning("the connections could not be stored", extra={"error": str(error)[:200]})
                return
            self._saved |= dict.fromkeys(saving, now)
            for key in deleting:
                del self._saved[key]

    async def end(self) -> None:
        """Delete everything of this replica, as far as there is time."""
        try:
            async with asyncio.timeout(_FAREWELL_SECONDS):
                await self.tell({})
        except TimeoutError:
            _log.warning("the connections were left to expire")

    def _key(self, sid: str) -> str:
        return f"connection-{self._replica}-{sid}"

    def _value(self, connection: Connection) -> dict[str, Any]:
        return {
            "user_id": connection.user_id,
            "replica": self._replica,
            "connected_at": connection.since.isoformat(),
        }
