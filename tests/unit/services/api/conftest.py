"""The task service on a database of each test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.unit.services.api.api_server import Api, make_api
from tests.unit.services.fake_broker import FakeClock
from tests.unit.services.postgres_server import TodoDatabase


@pytest.fixture
def clock() -> FakeClock:
    """A clock that the test moves."""
    return FakeClock()


@pytest.fixture
async def api(todo: TodoDatabase, clock: FakeClock) -> AsyncIterator[Api]:
    """The routes alone: nothing is published."""
    made = make_api(todo, clock)
    yield made
    await made.http.aclose()
    await made.app.state.parts.database.aclose()


@pytest.fixture
async def relaying(todo: TodoDatabase, clock: FakeClock) -> AsyncIterator[Api]:
    """The whole service, its relay running."""
    made = make_api(todo, clock)
    async with made.app.router.lifespan_context(made.app):
        yield made
        # A test may have held publishing up.
        if made.daprd.hold is not None:
            made.daprd.hold.set()
    await made.http.aclose()
