"""Intents in Dapr's state: read and changed many at a time, each change for itself."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from services.common.failures import Unavailable
from services.common.sidecar import Sidecar, StateWrite
from services.common.together import Together
from services.notification.intents import Intent

Found = tuple[Intent, str]

# Seconds. A process that is killed leaves as much of its work unknown.
_OUTCOMES_TOGETHER = 0.01


class IntentStore:
    """All intents; one key is never asked for twice at the same time."""

    def __init__(self, sidecar: Sidecar) -> None:
        self._sidecar = sidecar
        self._reads: Together[str, Found | None] = Together(self._read_all, moment=0)  # a batch asks at once
        # What it stores was done already: waiting a little costs nobody anything.
        self._writes: Together[StateWrite, bool] = Together(self.write_all, moment=_OUTCOMES_TOGETHER)

    async def read(self, key: str) -> Found | None:
        """The intent and its ETag, or None where there is none."""
        return await self._reads.ask(key)

    async def exchange(self, key: str, intent: Intent, etag: str | None) -> Intent:
        """Move an intent on from the state that has the ETag.

        Raises:
            Unavailable: another process did that, or took it over.
        """
        if not await self._writes.ask(StateWrite(key, intent.document, etag)):
            raise Unavailable("another process took this reminder's mail over")
        return intent

    async def save(self, key: str, intent: Intent) -> None:
        """Store an intent, whatever is there."""
        await self._writes.ask(StateWrite(key, intent.document, last=True))

    async def _read_all(self, keys: Sequence[str]) -> list[Found | None]:
        found = await self._sidecar.versioned_states(keys)
        intents = {key: (Intent.model_validate(value), etag) for key, (value, etag) in found.items()}
        return [intents.get(key) for key in keys]

    async def write_all(self, writes: Sequence[StateWrite]) -> Sequence[bool | Exception]:
        """Store all at once, each over what it needs to be there; for each whether that was so, or why it is not known."""
        if await self._sidecar.write_states(writes):
            return [True] * len(writes)
        if len(writes) == 1:
            return [False]
        # One of them came too late, and none was stored: each alone.
        answers = await asyncio.gather(
            *(self._sidecar.write_states([write]) for write in writes), return_exceptions=True
        )
        return [answer if isinstance(answer, bool | Exception) else False for answer in answers]
