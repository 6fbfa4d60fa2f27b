"""All services on real ports, shared by all attacks; each attack uses users of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.unit.services.postgres_server import PostgresServer
from tests.unit.services.stand import Stand, stand


@pytest.fixture(scope="session")
def target(postgres_server: PostgresServer) -> Iterator[Stand]:
    """The services as they run in production: no OpenAPI document, limits on."""
    database = postgres_server.new_database()
    # Nobody here answers pings.
    with stand(database, sync={"ping_interval": 100.0, "ping_timeout": 100.0}, openapi=False) as made:
        yield made
    postgres_server.drop(database)
