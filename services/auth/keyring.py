"""The signing keys of this process: kept in the database, remembered here, rotated by whoever notices first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from services.auth import handlers
from services.auth.handlers import Key
from services.auth.store import Store
from services.common.failures import Unavailable

_FRESH = timedelta(seconds=15)  # far below PUBLISH_LEAD: every replica shows a new key long before it signs


class KeyRing:
    """The current keys; the first one is made when it is first needed."""

    def __init__(self, store: Store, clock: Callable[[], datetime]) -> None:
        self._store, self._clock = store, clock
        self._keys: list[Key] = []
        self._read: datetime | None = None
        self._lock = asyncio.Lock()

    async def keys(self) -> list[Key]:
        """Every key that a valid token may be signed with, now or soon.

        Raises:
            Unavailable: the database is away and no key was ever read.
        """
        if not self._is_fresh():
            async with self._lock:
                if not self._is_fresh():
                    await self._refresh()
        return self._keys

    async def signing(self) -> Key:
        """The key that signs now.

        Raises:
            Unavailable: there is none to be had.
        """
        key = handlers.signing_key(await self.keys(), self._clock())
        if key is None:
            raise Unavailable("no signing key is active")
        return key

    async def get(self, key_id: str) -> Ed25519PublicKey | None:
        """The public key with this id, or None."""
        return next((key.public for key in await self.keys() if key.kid == key_id), None)

    async def rotate(self) -> Key:
        """Have a key that will follow the present one; where one already waits, it is that one."""
        now = self._clock()
        async with self._store.locked_keys() as stored:
            following = next((key for key in stored.keys if key.signs_from > now), None)
            if following is None:
                following = handlers.new_key(now + handlers.PUBLISH_LEAD if stored.keys else now)
                stored.add(following, now)
        self._read = None
        return following

    def _is_fresh(self) -> bool:
        return self._read is not None and self._clock() - self._read < _FRESH

    async def _refresh(self) -> None:
        now = self._clock()
        try:
            found = await self._store.keys()
            if handlers.rotation_is_due(found, now) or handlers.retired(found, now):
                found = await self._tidy(now)
        except Unavailable:
            # Keys that were good a moment ago still are; without any there is nothing to offer.
            if not self._keys:
                raise
            return
        self._keys, self._read = found, now

    async def _tidy(self, now: datetime) -> list[Key]:
        async with self._store.locked_keys() as stored:
            await stored.remove(handlers.retired(stored.keys, now))
            if handlers.rotation_is_due(stored.keys, now):
                stored.add(handlers.new_key(now + handlers.PUBLISH_LEAD if stored.keys else now), now)
            return stored.keys
