"""The last look before a mail is handed over: does its reminder still stand, and is the mail ours to send."""

from __future__ import annotations

from collections.abc import Sequence

from services.common.failures import Unavailable
from services.common.sidecar import StateWrite
from services.common.together import Together
from services.notification.intent_store import IntentStore
from services.notification.neighbours import Neighbours
from todoctl.core.events import ReminderEvent

_Check = tuple[ReminderEvent, StateWrite]


class LastChecks:
    """Asks and takes over for all mails that are at this point at one moment."""

    def __init__(self, neighbours: Neighbours, store: IntentStore) -> None:
        self._neighbours, self._store = neighbours, store
        self._asked: Together[_Check, bool] = Together(self._ask_all)

    async def passed(self, event: ReminderEvent, write: StateWrite) -> bool:
        """Whether the reminder still stands; then its intent is stored as `write` says, and the mail is ours.

        Raises:
            Unavailable: api or the store is away, or another process took the reminder meanwhile.
        """
        return await self._asked.ask((event, write))

    async def _ask_all(self, checks: Sequence[_Check]) -> list[bool | Exception]:
        standing = await self._neighbours.are_current([event for event, _ in checks])
        writes = [write for (_, write), stands in zip(checks, standing, strict=True) if stands]
        stored = iter(await self._store.write_all(writes) if writes else ())
        return [_taken(next(stored)) if stands else False for stands in standing]


def _taken(stored: bool | Exception) -> bool | Exception:
    return stored or Unavailable("another process took this reminder's mail over")
