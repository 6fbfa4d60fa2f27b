"""The HTTP application of auth: what users call, what other services call, and how both are guarded."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime

from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from services.auth import internal, public
from services.auth.accounts import Accounts
from services.auth.keyring import KeyRing
from services.auth.passwords import Passwords
from services.auth.store import Store
from services.common.database import Database, database_check
from services.common.guard import require_app_token
from services.common.settings import ServiceSettings
from services.common.sidecar import Sidecar
from services.common.tokens import TokenVerifier
from services.common.webapp import make_app, sidecar_check


def create_app(
    *,
    settings: ServiceSettings,
    database: Database,
    sidecar: Sidecar,
    clock: Callable[[], datetime],
    registry: CollectorRegistry,
    monotonic: Callable[[], float] = time.monotonic,
    passwords: Passwords | None = None,
) -> FastAPI:
    """The application; it connects to nothing before it is asked something."""
    store = Store(database)
    keys = KeyRing(store, clock)
    hashes = passwords or Passwords()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        hashes.close()
        await sidecar.aclose()
        await database.aclose()

    checks = {"database": database_check(database), "sidecar": sidecar_check(sidecar)}
    app = make_app(
        title="auth",
        registry=registry,
        checks=checks,
        lifespan=lifespan,
        openapi=settings.openapi,
        takes_work=settings.takes_work,
    )
    app.state.verifier = TokenVerifier.of(keys, settings, clock)
    accounts = Accounts(
        store=store,
        keys=keys,
        passwords=hashes,
        clock=clock,
        monotonic=monotonic,
        peers_per_second=settings.rate_limit_per_second,
        registry=registry,
    )
    app.include_router(public.router(accounts, store, keys, settings))
    app.include_router(internal.router(store, keys, clock, require_app_token(settings.app_api_token)))
    return app
