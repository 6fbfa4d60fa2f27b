"""What api does beside requests waits while its colour is idle."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from services.api import app
from services.common.settings import ServiceSettings
from tests.unit.services.common.test_service_settings import FULL


class Worker:
    """Says when it begins."""

    def __init__(self) -> None:
        self.began = asyncio.Event()

    async def run(self) -> None:
        """Work for ever."""
        self.began.set()
        await asyncio.Event().wait()


async def test_workers_begin_when_the_colour_is_on(tmp_path: Path) -> None:
    """Not before, and all of them."""
    file = tmp_path / "green"
    file.write_text("off")
    workers = (Worker(), Worker())
    settings = ServiceSettings.from_environ({**FULL, "COLOUR_FILE": str(file)})
    task = asyncio.create_task(app._at_work(settings, *workers))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.7):
            await workers[0].began.wait()
    file.write_text("on")
    async with asyncio.timeout(5):
        await asyncio.gather(*(worker.began.wait() for worker in workers))
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
