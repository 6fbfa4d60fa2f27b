"""What api does beside requests: measures the outbox, and clears away old changes and kept answers."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from datetime import datetime, timedelta

from sqlalchemy import TextClause, text

from services.api.metrics import ApiMetrics
from services.common.database import Database
from services.common.failures import ServiceFailure
from services.common.locks import Lock

_log = logging.getLogger("services.api.upkeep")

KEEP_KEYS = timedelta(days=7)
KEEP_CHANGES = timedelta(days=30)
_MEASURE_SECONDS = 2.0
_CLEAR_EVERY = 300  # measurements
_BATCH = 1000
# Any number, the same in every release.

_OUTBOX = text("SELECT count(*) AS entries, min(created_at) AS oldest FROM api.outbox")
_ALONE = text("SELECT pg_try_advisory_xact_lock(:key)")
_CLEAR_KEYS = text("""
    WITH gone AS (
        DELETE FROM api.idempotency_keys WHERE (user_id, key) IN (
            SELECT user_id, key FROM api.idempotency_keys WHERE created_at < :before ORDER BY created_at LIMIT :batch)
        RETURNING user_id
    ) SELECT count(*) FROM gone
""")
# The floor rises with the rows, so that a client below it learns that it missed some.
_CLEAR_CHANGES = text("""
    WITH gone AS (
        DELETE FROM api.changes WHERE (user_id, user_seq) IN (
            SELECT user_id, user_seq FROM api.changes WHERE occurred_at < :before ORDER BY occurred_at LIMIT :batch)
        RETURNING user_id, user_seq
    ), floors AS (SELECT user_id, max(user_seq) AS floor FROM gone GROUP BY user_id
    ), raised AS (
        UPDATE api.user_seqs SET floor_seq = greatest(floor_seq, floor)
        FROM floors WHERE user_seqs.user_id = floors.user_id
    ) SELECT count(*) FROM gone
""")


class Upkeep:
    """Runs for as long as the process does."""

    def __init__(self, database: Database, *, metrics: ApiMetrics, clock: Callable[[], datetime]) -> None:
        self._database, self._metrics, self._clock = database, metrics, clock

    async def run(self) -> None:
        """Measure every two seconds, clear every ten minutes."""
        rounds = 0
        while True:
            try:
                await self.measure()
                if rounds % _CLEAR_EVERY == 0:
                    await self.clear()
            except ServiceFailure as error:
                _log.warning("upkeep must wait: %s", error)
            except Exception:  # noqa: BLE001 - upkeep must go on; a bug in it is logged and tried again
                _log.exception("upkeep failed")
            rounds += 1
            await asyncio.sleep(_MEASURE_SECONDS)

    async def measure(self) -> None:
        """Set the outbox's gauges; not a number where it can't be looked at."""
        try:
            async with self._database.transaction() as session:
                row = (await session.execute(_OUTBOX)).one()
        except ServiceFailure:
            self._metrics.entries.set(math.nan)
            self._metrics.oldest_age.set(math.nan)
            raise
        age = 0.0 if row.oldest is None else max(0.0, (self._clock() - row.oldest).total_seconds())
        self._metrics.entries.set(row.entries)
        self._metrics.oldest_age.set(age)

    async def clear(self) -> None:
        """Delete what is older than it need be kept, in small batches, in one process at a time."""
        now = self._clock()
        for statement, before in ((_CLEAR_KEYS, now - KEEP_KEYS), (_CLEAR_CHANGES, now - KEEP_CHANGES)):
            while await self._clear_batch(statement, before) == _BATCH:
                pass

    async def _clear_batch(self, statement: TextClause, before: datetime) -> int:
        async with self._database.transaction() as session:
            if not (await session.execute(_ALONE, {"key": Lock.UPKEEP})).scalar_one():
                return 0
            return int((await session.execute(statement, {"before": before, "batch": _BATCH})).scalar_one())
