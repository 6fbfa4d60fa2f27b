"""PostgreSQL for a service: short transactions that either commit or raise, and never hang."""

from __future__ import annotations

import asyncio
import select
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from sqlalchemy import event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError, InterfaceError, InvalidatePoolError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from services.common.failures import Unavailable

_OPTIONS = "-c statement_timeout=5000 -c lock_timeout=4000 -c idle_in_transaction_session_timeout=10000 -c timezone=UTC"


class DatabaseUnavailable(Unavailable):
    """The database did not answer, or the connection broke; whether a write happened may be unknown."""


class Database:
    """A pool of connections; it connects at first use and finds its way back after an outage.

    `planning` has further server options for each session, such as `-c enable_seqscan=off`.
    """

    def __init__(self, url: str, *, name: str, size: int = 10, seconds: float = 8.0, planning: str = "") -> None:
        self._seconds = seconds
        self._engine = create_async_engine(
            engine_url(url),
            pool_size=size,
            max_overflow=0,
            pool_timeout=min(5.0, seconds / 2),
            pool_recycle=1800,
            connect_args={
                "connect_timeout": 3,
                "options": f"{_OPTIONS} {planning}",
                "application_name": name,
                "tcp_user_timeout": 5000,
            },
        )
        event.listen(self._engine.sync_engine, "checkout", _refuse_dead)
        self._sessions = async_sessionmaker(self._engine, expire_on_commit=False)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """One transaction, committed at the end of the block and rolled back when the block raises.

        Raises:
            DatabaseUnavailable: no connection, no answer in time, a lock conflict, or the connection
                broke; when it broke in the commit, the write may or may not have happened.
        """
        try:
            # The server's own timeouts don't fire when the server itself is frozen.
            async with asyncio.timeout(self._seconds), self._sessions() as session, session.begin():
                yield session
        except TimeoutError as error:
            raise DatabaseUnavailable(f"the database did not answer within {self._seconds:g} s") from error
        except (OperationalError, InterfaceError, PoolTimeoutError, psycopg.OperationalError) as error:
            raise DatabaseUnavailable(_first_line(error)) from error
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            raise DatabaseUnavailable(_first_line(error)) from error

    async def ping(self) -> None:
        """Prove that a query is answered.

        Raises:
            DatabaseUnavailable: it is not.
        """
        async with self.transaction() as session:
            await session.execute(text("SELECT 1"))

    async def aclose(self) -> None:
        """Close all connections."""
        await self._engine.dispose()


def database_check(database: Database) -> Callable[[], Awaitable[str | None]]:
    """Ready once the database answers a query."""

    async def check() -> str | None:
        try:
            await database.ping()
        except Unavailable as error:
            return str(error)
        return None

    return check


def _refuse_dead(link: Any, _record: Any, _proxy: Any) -> None:
    """Have the pool replace a connection that the server has closed: it then has something to say without being asked.

    That spares pooled connections an error after the server came back, and every transaction the round trip of a ping.
    """
    poll = select.poll()
    poll.register(link.driver_connection.fileno(), select.POLLIN)
    if poll.poll(0):
        raise InvalidatePoolError("the server closed the connection")


def engine_url(url: str) -> URL:
    """The libpq URL `url` as SQLAlchemy spells it for psycopg 3."""
    return make_url(url).set(drivername="postgresql+psycopg")


def _first_line(error: Exception) -> str:
    cause = getattr(error, "orig", None) or error
    return f"database: {str(cause).strip().partition(chr(10))[0] or type(cause).__name__}"
