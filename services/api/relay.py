"""The relay: publishes what is in the outbox, in each user's order, one process at a time, whatever dies meanwhile.

An entry is removed after the broker has it, so a crash in between repeats the event (with the same id) and loses none.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

import psycopg

from services.api import outbox
from services.api.backoff import Backoff
from services.api.metrics import ApiMetrics
from services.api.outbox import Entry, Lane, Lanes
from services.api.publishing import Published, Publisher

_log = logging.getLogger("services.api.relay")

# The net under LISTEN/NOTIFY, and how often a waiting relay asks for the lock.
_POLL_SECONDS = 1.0
_LOCK_SECONDS = 0.5


class Relay:
    """Runs for as long as the process does; `leads` says whether it is the one that publishes."""

    def __init__(
        self,
        *,
        url: str,
        publisher: Publisher,
        metrics: ApiMetrics,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url, self._publisher, self._metrics = url, publisher, metrics
        self._topics = Backoff[str](monotonic=monotonic)
        self._lanes = Backoff[Lane](monotonic=monotonic)
        self._connecting = Backoff[str](monotonic=monotonic)
        self.leads = False

    async def run(self) -> None:
        """Relay for ever, through every loss of the database or the sidecar."""
        while True:
            try:
                await self._serve()
            except psycopg.Error as error:
                _log.warning("the relay lost its database: %s", str(error).partition("\n")[0])
            except Exception:  # noqa: BLE001 - a relay that ended would stop all events; a bug is logged and tried again
                _log.exception("the relay failed")
            self._lead(leads=False)
            await asyncio.sleep(self._connecting.hold("database"))

    async def _serve(self) -> None:
        async with await outbox.connect(self._url) as connection:
            while not await outbox.try_lead(connection):  # noqa: ASYNC110 - the other process's death is no event here
                await asyncio.sleep(_LOCK_SECONDS)
            _log.info("this relay leads")
            self._lead(leads=True)
            while True:
                await self._drain(connection)
                self._connecting.release("database")
                await self._wait(connection)

    async def _drain(self, connection: psycopg.AsyncConnection[Any]) -> None:
        """Publish until nothing is left that may be tried now."""
        while entries := await outbox.window(connection, self._topics.held(), self._lanes.held()):
            lanes = Lanes(entries)
            while batches := lanes.heads():
                await self._wave(connection, lanes, batches)

    async def _wave(
        self, connection: psycopg.AsyncConnection[Any], lanes: Lanes, batches: dict[str, list[Entry]]
    ) -> None:
        results = await asyncio.gather(*(self._publisher.publish(topic, batch) for topic, batch in batches.items()))
        settled = [entry for result in results for entry in result.settled]
        if settled:
            await outbox.remove(connection, settled)
        for topic, result in zip(batches, results, strict=True):
            self._note(lanes, topic, result)

    def _note(self, lanes: Lanes, topic: str, result: Published) -> None:
        for entry in result.settled:
            lanes.settle(entry)
            self._lanes.release(entry.lane)
        for entry in result.stuck:
            lanes.drop(entry.lane)
            self._lanes.hold(entry.lane)
        if result.settled:
            self._topics.release(topic)
        else:
            # Nothing went through: the whole topic waits, not only the lanes of this batch.
            lanes.drop_topic(topic)
            self._topics.hold(topic)

    async def _wait(self, connection: psycopg.AsyncConnection[Any]) -> None:
        pause = min(self._topics.shortest(_POLL_SECONDS), self._lanes.shortest(_POLL_SECONDS))
        async for _ in connection.notifies(timeout=max(pause, 0.01), stop_after=1):
            pass

    def _lead(self, *, leads: bool) -> None:
        self.leads = leads
        self._metrics.relay_leads.set(leads)
