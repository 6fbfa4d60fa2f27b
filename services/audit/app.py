"""The HTTP application of audit: the routes of its subscriptions and the query."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Query
from prometheus_client import CollectorRegistry

from services.audit.entries import Entry, event_entry, letter_entry
from services.audit.queries import page
from services.audit.schemas import LogPage, LogQuery
from services.audit.store import AuditLog
from services.common.breaker import Clock
from services.common.consumer import EVENT_BODY_LIMIT, MANY_EVENTS, BulkRoute, Consumer, EventMetrics, consumer_check
from services.common.database import Database, database_check
from services.common.guard import require_app_token
from services.common.jwks import JwksCache, jwks_through
from services.common.letters import Letters
from services.common.openapi import refusals
from services.common.settings import ServiceSettings
from services.common.sidecar import Sidecar
from services.common.strict import StrictRoute
from services.common.tokens import CurrentUser, TokenVerifier
from services.common.webapp import make_app, sidecar_check
from todoctl.core.events import DEAD_LETTERS, REMINDERS, TASK_EVENTS, TASK_UPDATES


def create_app(
    *, settings: ServiceSettings, database: Database, sidecar: Sidecar, clock: Clock, registry: CollectorRegistry
) -> FastAPI:
    """The application; it connects to nothing before it is asked something."""
    consumers = _consumers(AuditLog(database, clock=clock), sidecar, clock, EventMetrics.in_registry(registry))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await sidecar.aclose()
        await database.aclose()

    keys = JwksCache(jwks_through(sidecar), clock)
    checks = {
        "database": database_check(database),
        "sidecar": sidecar_check(sidecar),
        "consumer": consumer_check(*consumers),
        "keys": keys.missing,
    }
    app = make_app(
        title="audit",
        registry=registry,
        checks=checks,
        lifespan=lifespan,
        body_limit=EVENT_BODY_LIMIT,
        openapi=settings.openapi,
        takes_work=settings.takes_work,
    )
    guard = Depends(require_app_token(settings.app_api_token))
    for consumer in consumers:
        endpoint = BulkRoute(consumer).endpoint
        path, name = f"/events/{consumer.topic}", f"receive_{consumer.topic.replace('-', '_')}"
        app.add_api_route(path, endpoint, methods=["POST"], dependencies=[guard], name=name, **MANY_EVENTS)
    app.state.verifier = TokenVerifier.of(keys, settings, clock)
    _add_query(app, database)
    return app


def _consumers(log: AuditLog, sidecar: Sidecar, clock: Clock, metrics: EventMetrics) -> list[Consumer[Entry]]:
    letters = Letters(sidecar, consumer="audit", clock=clock)
    events = [
        Consumer(topic=topic, read=event_entry, handle=log.append, letters=letters, clock=clock, metrics=metrics)
        for topic in (TASK_EVENTS, REMINDERS, TASK_UPDATES)
    ]
    # A letter about a letter would go round for ever: whatever lies on that topic is stored.
    dead = Consumer(
        topic=DEAD_LETTERS,
        read=lambda delivery: letter_entry(delivery, now=clock()),
        handle=log.append,
        letters=None,
        clock=clock,
        metrics=metrics,
    )
    return [*events, dead]


def _add_query(app: FastAPI, database: Database) -> None:
    routes = APIRouter(route_class=StrictRoute)

    @routes.get("/api/audit/logs", responses=refusals(403))
    async def audit_logs(query: Annotated[LogQuery, Query()], caller: CurrentUser) -> LogPage:
        """List what happened: one's own events, or everybody's for an operator."""
        return await page(database, caller, query)

    app.include_router(routes)
