"""Transactions on a real PostgreSQL that is killed, frozen and brought back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from services.common.database import Database, DatabaseUnavailable, engine_url
from tests.unit.services.postgres_server import PostgresServer, TodoDatabase

_ADD = text(
    "INSERT INTO auth.users (email, password_hash, zone, created_at, updated_at)"
    " VALUES (:email, 'x', 'UTC', now(), now())"
)


async def add(database: Database, email: str) -> None:
    """One more user."""
    async with database.transaction() as session:
        await session.execute(_ADD, {"email": email})


async def count(database: Database) -> int:
    """How many users there are."""
    async with database.transaction() as session:
        return int((await session.execute(text("SELECT count(*) FROM auth.users"))).scalar_one())


async def add_then(database: Database, act: Callable[[], None]) -> None:
    """One more user, and something that happens before it is committed."""
    async with database.transaction() as session:
        await session.execute(_ADD, {"email": "a@b.c"})
        act()


async def sleep_in(database: Database, setting: str) -> None:
    """A statement that takes 30 seconds, under a setting."""
    async with database.transaction() as session:
        await session.execute(text(setting))
        await session.execute(text("SELECT pg_sleep(30)"))


async def sleeper_seen(todo: TodoDatabase) -> None:
    """Returns once the server runs the sleeping statement."""
    async with await psycopg.AsyncConnection.connect(todo.admin_url, autocommit=True) as link, asyncio.timeout(10):
        seen = 0
        while not seen:
            found = await link.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
            (seen,) = await found.fetchone() or (0,)


def _raise() -> None:
    raise LookupError


@pytest.fixture
async def database(todo: TodoDatabase) -> AsyncIterator[Database]:
    """The database as auth sees it."""
    made = Database(todo.url("auth"), name="test")
    yield made
    await made.aclose()


@pytest.fixture
async def broken(fragile: tuple[PostgresServer, TodoDatabase]) -> AsyncIterator[Database]:
    """The same on a server that the test may break."""
    made = Database(fragile[1].url("auth"), name="test", size=4, seconds=1)
    yield made
    await made.aclose()


async def test_a_block_that_ends_is_committed(database: Database) -> None:
    """What a block did is there for the next one."""
    await add(database, "a@b.c")
    assert await count(database) == 1


async def test_a_block_that_raises_leaves_nothing(database: Database) -> None:
    """The block's own error comes out as it is, and its work is undone."""
    with pytest.raises(LookupError):
        await add_then(database, _raise)
    assert await count(database) == 0


async def test_a_broken_rule_is_no_outage(database: Database) -> None:
    """A violated constraint is the caller's to handle."""
    await add(database, "a@b.c")
    with pytest.raises(IntegrityError):
        await add(database, "a@b.c")


async def test_a_slow_statement_ends(database: Database) -> None:
    """A statement that takes too long is ended, and the pool is whole again."""
    with pytest.raises(DatabaseUnavailable, match="statement timeout"):
        await sleep_in(database, "SET LOCAL statement_timeout = 50")
    await database.ping()


async def test_no_free_connection(todo: TodoDatabase) -> None:
    """With every connection in use a caller waits only so long."""
    database = Database(todo.url("auth"), name="test", size=1, seconds=1)
    async with database.transaction() as session:
        await session.execute(text("SELECT 1"))
        with pytest.raises(DatabaseUnavailable):
            await database.ping()
    await database.aclose()


async def test_nothing_listens() -> None:
    """No server at all is told at once."""
    database = Database("postgresql://auth:x@127.0.0.1:1/todo", name="test")
    with pytest.raises(DatabaseUnavailable, match="refused"):
        await database.ping()
    await database.aclose()


async def test_a_wrong_password(todo: TodoDatabase) -> None:
    """A refused login is an outage too: the operator changes it, not the caller."""
    database = Database(todo.url("auth").replace("only-for-tests", "wrong"), name="test")
    with pytest.raises(DatabaseUnavailable, match="password"):
        await database.ping()
    await database.aclose()


async def test_killed_and_back(fragile: tuple[PostgresServer, TodoDatabase], broken: Database) -> None:
    """Every call fails as unavailable while the server is dead, and the first one after it works."""
    server, _ = fragile
    await asyncio.gather(*(add(broken, f"{number}@b.c") for number in range(4)))
    server.kill()
    for _ in range(3):
        with pytest.raises(DatabaseUnavailable):
            await count(broken)
    server.start()
    assert await count(broken) == 4


async def test_killed_in_the_middle(fragile: tuple[PostgresServer, TodoDatabase], broken: Database) -> None:
    """A transaction that loses its server is unavailable, and nothing of it stays."""
    server, _ = fragile
    with pytest.raises(DatabaseUnavailable):
        await add_then(broken, server.kill)
    server.start()
    assert await count(broken) == 0


async def test_killed_while_a_statement_runs(fragile: tuple[PostgresServer, TodoDatabase], broken: Database) -> None:
    """A statement that is running when the server dies ends at once."""
    server, _ = fragile
    running = asyncio.create_task(sleep_in(broken, "SET LOCAL statement_timeout = 30000"))
    await sleeper_seen(fragile[1])
    server.kill()
    with pytest.raises(DatabaseUnavailable):
        await asyncio.wait_for(running, 20)


async def test_frozen(fragile: tuple[PostgresServer, TodoDatabase], broken: Database) -> None:
    """A server that keeps connections open and never answers does not hang its callers, and is used again after."""
    server, _ = fragile
    await broken.ping()
    server.freeze()
    started = time.monotonic()
    results = await asyncio.gather(*(broken.ping() for _ in range(6)), return_exceptions=True)
    assert {type(result) for result in results} == {DatabaseUnavailable}
    assert time.monotonic() - started < 15
    server.thaw()
    await broken.ping()


def test_password_with_odd_characters() -> None:
    """A URL keeps its password's own characters through SQLAlchemy's form."""
    url = engine_url("postgresql://auth:p%40ss%2Fw%25rd@h:1/todo?sslmode=require")
    assert (url.drivername, url.password, url.query["sslmode"]) == ("postgresql+psycopg", "p@ss/w%rd", "require")
