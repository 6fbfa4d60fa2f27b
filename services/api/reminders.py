"""Reminders that are due: claimed in batches into the outbox, never early, whoever asks and however often.

The rows are the truth. A job's callback and the sweep both only wake this loop; docs/decisions/0013-reminders.md.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select, text

from services.api.backoff import Backoff
from services.api.changes import SOURCE
from services.api.metrics import ApiMetrics
from services.api.models import Reminder, Task
from services.common.database import Database
from services.common.failures import ServiceFailure
from todoctl.core.events import REMINDERS, SCHEMA_VERSION

_log = logging.getLogger("services.api.reminders")

SWEEP_SECONDS = 15.0
BATCH = 500


def _iso(column: str) -> str:
    return f"""to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""


# One statement, so that claiming and telling can't come apart. It holds the users' locks as every write does (their
# last number is the event's place) but waits for none: what a write holds now is claimed in the next round.
_CLAIM = text(f"""
    WITH due AS MATERIALIZED (
        SELECT r.id, r.task_id, r.user_id, r.trigger_at, r.due_date, t.title, t.description, t.version, s.last_seq
        FROM api.reminders r
        JOIN api.tasks t ON t.id = r.task_id
        JOIN api.user_seqs s ON s.user_id = r.user_id
        WHERE r.state = 'scheduled' AND t.status = 'open' AND r.trigger_at <= statement_timestamp()
        ORDER BY r.trigger_at, r.id
        LIMIT :batch
        FOR NO KEY UPDATE OF s, r, t SKIP LOCKED
    ), fired AS (
        UPDATE api.reminders SET state = 'fired' FROM due WHERE reminders.id = due.id
    ), events AS MATERIALIZED (
        SELECT due.*, gen_random_uuid() AS event_id, statement_timestamp() AS occurred_at FROM due
    ), told AS (
        INSERT INTO api.outbox (user_id, user_seq, topic, key, event_id, created_at, envelope)
        SELECT user_id, last_seq, '{REMINDERS}', user_id::text, event_id, occurred_at, jsonb_build_object(
            'specversion', '1.0', 'id', event_id, 'type', 'reminder.due', 'source', '{SOURCE}',
            'subject', 'task/' || task_id, 'time', {_iso("occurred_at")}, 'datacontenttype', 'application/json',
            'data', jsonb_build_object(
                'schema_version', '{SCHEMA_VERSION}', 'event_id', event_id, 'event_type', 'reminder.due',
                'user_id', user_id, 'task_id', task_id, 'user_seq', last_seq, 'version', version,
                'occurred_at', {_iso("occurred_at")}, 'correlation_id', 'reminder-' || id,
                'payload', jsonb_build_object(
                    'reminder_id', id, 'trigger_at', {_iso("trigger_at")}, 'due_date', {_iso("due_date")},
                    'title', title, 'description', description, 'message_id', NULL, 'reason', NULL)))
        FROM events ORDER BY trigger_at, id
        RETURNING 1
    ) SELECT count(*) FROM told
""")  # noqa: S608 - only constants of ours are put into it
_NEXT = text("""
    SELECT extract(epoch FROM min(trigger_at) - clock_timestamp())::float8 FROM api.reminders WHERE state = 'scheduled'
""")


class Reminders:
    """Runs for as long as the process does; woken by jobs, and by itself at the latest every `sweep` seconds."""

    def __init__(self, database: Database, *, metrics: ApiMetrics, sweep: float = SWEEP_SECONDS) -> None:
        self._database, self._metrics, self._sweep = database, metrics, sweep
        self._woken = asyncio.Event()
        self._backoff = Backoff[str](monotonic=time.monotonic)

    def wake(self) -> None:
        """Look now; returns at once."""
        self._woken.set()

    async def run(self) -> None:
        """Claim what is due, for ever, through every loss of the database."""
        while True:
            self._woken.clear()
            try:
                pause = await self.claim()
            except ServiceFailure as error:
                pause = self._backoff.hold("claim")
                _log.warning("reminders must wait: %s", error)
            except Exception:  # noqa: BLE001 - reminders must go on; a bug is logged and tried again
                pause = self._backoff.hold("claim")
                _log.exception("reminders failed")
            await self._rest(pause)

    async def claim(self) -> float:
        """Claim everything that is due; gives the seconds until there is something to look at again."""
        while claimed := await self._claim_batch():
            self._metrics.reminders.inc(claimed)
        async with self._database.transaction() as session:
            ahead = (await session.execute(_NEXT)).scalar_one()
        if ahead is not None and ahead <= 0:
            # A write holds its row at this moment.
            return self._backoff.hold("claim")
        self._backoff.release("claim")
        return min(self._sweep, self._sweep if ahead is None else float(ahead))

    async def _claim_batch(self) -> int:
        async with self._database.transaction() as session:
            return int((await session.execute(_CLAIM, {"batch": BATCH})).scalar_one())

    async def _rest(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return


async def which_are_current(database: Database, fired: Sequence[tuple[int, datetime]]) -> set[tuple[int, datetime]]:
    """Those of the reminders, each with the moment that it fired for, that still stand: not moved, the task still open."""
    statement = (
        select(Reminder.id, Reminder.trigger_at)
        .join(Task)
        .where(Reminder.id.in_([id_ for id_, _ in fired]), Reminder.state == "fired", Task.status == "open")
    )
    async with database.transaction() as session:
        standing = {(row.id, row.trigger_at) for row in await session.execute(statement)}
    return standing & set(fired)
