"""The audit log in PostgreSQL: what is delivered at the same time is appended together, and each delivery answered alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress

import psycopg
from sqlalchemy.exc import DBAPIError

from services.audit.chains import Chain, Link, extend
from services.audit.entries import Entry
from services.common.breaker import Clock
from services.common.database import Database, DatabaseUnavailable
from services.common.together import Together

Batch = Sequence[Entry]

# The same event in two partitions at once: the second try sees what the other one stored.
_TRIES = 3

# Characters of details that are written together; a larger delivery is written alone.
_LARGEST_GROUP = 4 * 1024 * 1024


class AuditLog:
    """The append-only table and its chains."""

    def __init__(self, database: Database, *, clock: Clock) -> None:
        self._database = database
        self._clock = clock
        # Nobody waits for company, but who comes while others are written goes in with the next.
        self._together: Together[Batch, int] = Together(self._append_all, moment=0)

    async def append(self, entries: Batch) -> int:
        """Store the entries that are not stored yet, in one transaction; gives how many were new.

        Raises:
            DatabaseUnavailable: the database is away, or not in a state to take anything.
        """
        return await self._together.ask(entries)

    async def _append_all(self, batches: Sequence[Batch]) -> Sequence[int | Exception]:
        answers: list[int | Exception] = []
        for group in _groups(batches):
            answers += await self._append_group(group)
        return answers

    async def _append_group(self, group: Sequence[Batch]) -> Sequence[int | Exception]:
        if len(group) > 1:
            # A record that the table refuses, a chain that another process holds: not the others' fault.
            with suppress(Exception):
                return await self._append(group)
        return await asyncio.gather(*(self._append_alone(batch) for batch in group))

    async def _append_alone(self, batch: Batch) -> int | Exception:
        try:
            [count] = await self._append([batch])
        except Exception as error:  # noqa: BLE001 - given to the one who asked
            return error
        return count

    async def _append(self, group: Sequence[Batch]) -> list[int]:
        for attempt in range(_TRIES):
            try:
                async with self._transaction() as link:
                    stored = await extend(link, _by_chain(group), self._clock())
                return _counts(group, stored)
            except psycopg.errors.UniqueViolation:
                if attempt + 1 == _TRIES:
                    raise
        raise AssertionError("unreachable")

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Link]:
        try:
            async with self._database.transaction() as session:
                link = (await (await session.connection()).get_raw_connection()).driver_connection
                if not isinstance(link, psycopg.AsyncConnection):
                    raise TypeError(f"COPY needs a psycopg connection, not {type(link).__name__}")
                yield link
        except (psycopg.Error, DBAPIError) as error:
            # A missing table, a read-only standby, a revoked right: none of it is the record's fault.
            if _is_about_the_data(error):
                raise
            raise DatabaseUnavailable(f"the audit log can't be written: {error}") from error


def _groups(batches: Sequence[Batch]) -> Iterator[list[Batch]]:
    """The batches in their order, as many at a time as are small enough together."""
    group: list[Batch] = []
    size = 0
    for batch in batches:
        more = sum(len(entry.details or entry.raw or "") for entry in batch)
        if group and size + more > _LARGEST_GROUP:
            yield group
            group, size = [], 0
        group.append(batch)
        size += more
    if group:
        yield group


def _by_chain(group: Sequence[Batch]) -> dict[Chain, list[Entry]]:
    chains: dict[Chain, list[Entry]] = {}
    for batch in group:
        for entry in batch:
            chains.setdefault((entry.topic, entry.partition), []).append(entry)
    return chains


def _counts(group: Sequence[Batch], stored: Sequence[Entry]) -> list[int]:
    """How many of each batch are among `stored`; of the same event twice, the first one is."""
    left, counts = {id(entry) for entry in stored}, []
    for batch in group:
        own = left.intersection(map(id, batch))
        left -= own
        counts.append(len(own))
    return counts


def _is_about_the_data(error: Exception) -> bool:
    """Whether a value or a constraint is to blame: SQLSTATE classes 22 and 23."""
    cause = getattr(error, "orig", None) or error
    return (getattr(cause, "sqlstate", None) or "")[:2] in {"22", "23"}
