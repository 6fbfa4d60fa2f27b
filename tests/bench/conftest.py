"""What several benches stand on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.services.postgres_server import PostgresServer, TodoDatabase, bin_folder


@pytest.fixture
def todo() -> Iterator[TodoDatabase]:
    """A migrated database on a server of its own."""
    server = PostgresServer(bin_folder())
    try:
        server.create()
        yield server.new_database()
    finally:
        server.remove()
