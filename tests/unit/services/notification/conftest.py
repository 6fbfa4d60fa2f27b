"""The notification service with surroundings of each test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.unit.services.notification.notifier import Notifier, running


@pytest.fixture
async def notifier() -> AsyncIterator[Notifier]:
    """The service; nothing has happened yet."""
    async with running() as made:
        yield made
