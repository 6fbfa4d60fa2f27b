"""The audit log in PostgreSQL: appends to the hash chains, and the pages of a query."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from itertools import groupby
from typing import Any
from uuid import UUID

import psycopg
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession

from services.audit.entries import Entry
from services.common.breaker import Clock
from services.common.database import Database, DatabaseUnavailable
from todoctl.core.audit_chain import CHAINED_COLUMNS, GENESIS, Head, plain_moment, values_hash

Chain = tuple[str, int]

# The same event in two partitions at once: the second try sees what the other one stored.
_TRIES = 3

_COLUMNS = (*CHAINED_COLUMNS, "previous_hash", "hash")
_COPY = f"COPY audit.audit_logs ({', '.join(_COLUMNS)}) FROM STDIN"

_LOCK_HEAD = text(
    "SELECT chain_seq, hash FROM audit.chain_heads WHERE topic = :topic AND partition = :partition FOR UPDATE"
)
_NEW_HEAD = text(
    "INSERT INTO audit.chain_heads (topic, partition, chain_seq, hash) VALUES (:topic, :partition, 0, :hash)"
    " ON CONFLICT DO NOTHING"
)
_MOVE_HEAD = text(
    "UPDATE audit.chain_heads SET chain_seq = :chain_seq, hash = :hash WHERE topic = :topic AND partition = :partition"
)
_KNOWN = text("SELECT event_id FROM audit.audit_logs WHERE topic = :topic AND event_id = ANY(:ids)")


class AuditLog:
    """The append-only table and its chains."""

    def __init__(self, database: Database, *, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def append(self, entries: Sequence[Entry]) -> int:
        """Store the entries that are not stored yet, each chain in one transaction; gives how many were new.

        Raises:
            DatabaseUnavailable: the database is away, or not in a state to take anything.
        """
        stored = 0
        for chain, group in groupby(sorted(entries, key=_chain), key=_chain):
            stored += await self._append(chain, list(group))
        return stored

    async def _append(self, chain: Chain, entries: list[Entry]) -> int:
        for attempt in range(_TRIES):
            try:
                async with self._transaction() as session:
                    return await _extend(session, chain, entries, self._clock())
            except psycopg.errors.UniqueViolation:
                if attempt + 1 == _TRIES:
                    raise
        raise AssertionError("unreachable")

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[AsyncSession]:
        try:
            async with self._database.transaction() as session:
                yield session
        except (psycopg.Error, DBAPIError) as error:
            # A missing table, a read-only standby, a revoked right: none of it is the record's fault.
            if _is_about_the_data(error):
                raise
            raise DatabaseUnavailable(f"the audit log can't be written: {error}") from error


async def _extend(session: AsyncSession, chain: Chain, entries: list[Entry], now: datetime) -> int:
    head = await _locked_head(session, chain)
    fresh = await _without_known(session, chain[0], entries)
    if not fresh:
        return 0
    rows, end = _linked(head, fresh, now)
    await _copy(session, rows)
    place = {"topic": chain[0], "partition": chain[1]}
    await session.execute(_MOVE_HEAD, {**place, "chain_seq": end.chain_seq, "hash": end.hash})
    return len(rows)


async def _locked_head(session: AsyncSession, chain: Chain) -> Head:
    place = {"topic": chain[0], "partition": chain[1]}
    found = (await session.execute(_LOCK_HEAD, place)).one_or_none()
    if found is None:
        await session.execute(_NEW_HEAD, {**place, "hash": GENESIS})
        found = (await session.execute(_LOCK_HEAD, place)).one()
    return Head(chain_seq=found.chain_seq, hash=bytes(found.hash))


async def _without_known(session: AsyncSession, topic: str, entries: list[Entry]) -> list[Entry]:
    by_id: dict[UUID, Entry] = {}
    for entry in entries:
        by_id.setdefault(entry.event_id, entry)
    known = set(await session.scalars(_KNOWN, {"topic": topic, "ids": list(by_id)}))
    return [entry for event_id, entry in by_id.items() if event_id not in known]


def _linked(head: Head, entries: list[Entry], now: datetime) -> tuple[list[list[Any]], Head]:
    """The rows as COPY takes them, column by column, and where the chain ends with them."""
    rows, recorded_at = [], plain_moment(now)
    for entry in entries:
        values = entry.plain(chain_seq=head.chain_seq + 1, recorded_at=recorded_at)
        digest = values_hash(head.hash, values)
        # What was hashed is what is stored, but for bytes, which are hashed as hexadecimal digits.
        rows.append([*values[:-1], entry.raw, head.hash, digest])
        head = Head(chain_seq=head.chain_seq + 1, hash=digest)
    return rows, head


async def _copy(session: AsyncSession, rows: list[list[Any]]) -> None:
    link = await (await session.connection()).get_raw_connection()
    driver = link.driver_connection
    if not isinstance(driver, psycopg.AsyncConnection):
        raise TypeError(f"COPY needs a psycopg connection, not {type(driver).__name__}")
    async with driver.cursor() as cursor, cursor.copy(_COPY) as copy:
        for row in rows:
            await copy.write_row(row)


def _chain(entry: Entry) -> Chain:
    return entry.topic, entry.partition


def _is_about_the_data(error: Exception) -> bool:
    """Whether a value or a constraint is to blame: SQLSTATE classes 22 and 23."""
    cause = getattr(error, "orig", None) or error
    return (getattr(cause, "sqlstate", None) or "")[:2] in {"22", "23"}
