"""What the services' tests share: a real PostgreSQL, started once per run.

How to use it (real SQL, real roles, real grants; nothing to install):

    async def test_something(todo: TodoDatabase) -> None:
        database = Database(todo.url("api"), name="test")       # the role that the service has
        ...
        await database.aclose()

- `todo`: a migrated database of this test's own (a copy made in about 50 ms), gone after it. Nothing to truncate.
  `todo.url(role)` for the roles todo_owner, todo_operator, dapr_state, auth, api, audit; `todo.admin_url` for looking.
- `empty_database`: the same without any migration.
- `fragile`: (server, database) on a second server that the test may `kill()`, `freeze()`, `thaw()` and `start()`;
  it is healed after each test.
- `postgres_server`: the shared server itself; `postgres_server.new_database()` makes further databases.

Types: `from tests.unit.services.postgres_server import PostgresServer, TodoDatabase`.
Another PostgreSQL: TODOCTL_TEST_PG_BIN=/usr/lib/postgresql/15/bin pytest ...
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.services.postgres_server import PostgresServer, TodoDatabase, bin_folder


@pytest.fixture(scope="session")
def postgres_bin() -> Path:
    """PostgreSQL's programs."""
    return bin_folder()


@pytest.fixture(scope="session")
def postgres_server(postgres_bin: Path) -> Iterator[PostgresServer]:
    """The server that all tests of this run share."""
    yield from _running(postgres_bin)


@pytest.fixture(scope="session")
def _fragile_server(postgres_bin: Path) -> Iterator[PostgresServer]:
    yield from _running(postgres_bin)


@pytest.fixture
def todo(postgres_server: PostgresServer) -> Iterator[TodoDatabase]:
    """A migrated database of this test's own."""
    database = postgres_server.new_database()
    yield database
    postgres_server.drop(database)


@pytest.fixture
def empty_database(postgres_server: PostgresServer) -> Iterator[TodoDatabase]:
    """A database of this test's own that no migration has seen."""
    database = postgres_server.new_database(migrated=False)
    yield database
    postgres_server.drop(database)


@pytest.fixture
def fragile(_fragile_server: PostgresServer) -> Iterator[tuple[PostgresServer, TodoDatabase]]:
    """A server to break, with a migrated database on it."""
    database = _fragile_server.new_database()
    yield _fragile_server, database
    _fragile_server.heal()
    _fragile_server.drop(database)


def _running(folder: Path) -> Iterator[PostgresServer]:
    server = PostgresServer(folder)
    try:
        server.create()
        yield server
    finally:
        server.remove()
