"""The application: routes in front, PostgreSQL and the sidecar behind; relay, reminders and upkeep beside."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Protocol

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from services.api.alarms import Alarms
from services.api.internal import make_job_router, make_router
from services.api.metrics import ApiMetrics
from services.api.pages import WebSettings, page_routes
from services.api.parts import Parts
from services.api.publishing import Publisher
from services.api.relay import Relay
from services.api.reminders import Reminders
from services.api.routes import router
from services.api.upkeep import Upkeep
from services.api.writes import Writer
from services.common.database import Database, database_check
from services.common.jwks import JwksCache, jwks_through
from services.common.ratelimit import TokenBuckets
from services.common.settings import ServiceSettings
from services.common.sidecar import Sidecar
from services.common.tokens import TokenVerifier
from services.common.webapp import make_app, sidecar_check

_LOOK_SECONDS = 0.5


def utc_now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


def create_app(
    *,
    settings: ServiceSettings,
    sidecar: Sidecar,
    database: Database,
    registry: CollectorRegistry,
    clock: Callable[[], datetime] = utc_now,
    web: WebSettings | None = None,
) -> FastAPI:
    """The task service and the page; it owns `sidecar` and `database` from here and closes them when it stops."""
    metrics = ApiMetrics(registry)
    upkeep = Upkeep(database, metrics=metrics, clock=clock)
    reminders = Reminders(database, metrics=metrics)
    alarms = Alarms(sidecar, wake=reminders.wake, metrics=metrics, clock=clock)
    relay = Relay(
        url=settings.database_url,
        publisher=Publisher(sidecar, metrics=metrics, clock=clock),
        metrics=metrics,
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with sidecar.opened(), _running(alarms.run(), _at_work(settings, relay, upkeep, reminders)):
            yield
        await database.aclose()

    keys = JwksCache(jwks_through(sidecar), clock)
    app = make_app(
        title="api",
        registry=registry,
        checks={"database": database_check(database), "sidecar": sidecar_check(sidecar), "keys": keys.missing},
        lifespan=lifespan,
        openapi=settings.openapi,
        takes_work=settings.takes_work,
    )
    # A path with a slash too many is another path, not a redirect.
    app.router.redirect_slashes = False
    rate = settings.rate_limit_per_second
    app.state.verifier = TokenVerifier.of(keys, settings, clock)
    app.state.parts = Parts(
        writer=Writer(database, clock, remind=alarms.at),
        database=database,
        metrics=metrics,
        buckets=TokenBuckets(rate=rate, burst=2 * rate, monotonic=time.monotonic),
    )
    app.include_router(page_routes(web or WebSettings(), sidecar))
    app.include_router(router)
    app.include_router(make_router(settings))
    app.include_router(make_job_router(settings, reminders.wake))
    return app


class _Worker(Protocol):
    async def run(self) -> None:
        """Work for ever."""


async def _at_work(settings: ServiceSettings, *workers: _Worker) -> None:
    """Have all of them work once this process may, which the idle colour of a release may not."""
    while not settings.takes_work():  # noqa: ASYNC110 - a file's change is no event here
        await asyncio.sleep(_LOOK_SECONDS)
    await asyncio.gather(*(worker.run() for worker in workers))


@asynccontextmanager
async def _running(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Background work for the length of a block."""
    tasks = [asyncio.create_task(coroutine) for coroutine in work]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
