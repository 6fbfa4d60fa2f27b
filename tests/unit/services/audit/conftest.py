"""An audit log on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from services.audit.store import AuditLog
from services.common.database import Database
from tests.unit.services.fake_broker import FakeClock
from tests.unit.services.postgres_server import TodoDatabase


@pytest.fixture
async def database(todo: TodoDatabase) -> AsyncIterator[Database]:
    """The database as the service sees it."""
    database = Database(todo.url("audit"), name="audit-test")
    yield database
    await database.aclose()


@pytest.fixture
def log(database: Database) -> AuditLog:
    """The log, on a clock that stands still."""
    return AuditLog(database, clock=FakeClock())
