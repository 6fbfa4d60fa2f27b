"""The HTTP application of notification: the route of its subscription to reminders."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI
from prometheus_client import CollectorRegistry, Counter

from services.common.breaker import Clock
from services.common.consumer import EVENT_BODY_LIMIT, MANY_EVENTS, BulkRoute, Consumer, EventMetrics, consumer_check
from services.common.delivery import read_event
from services.common.guard import require_app_token
from services.common.letters import Letters
from services.common.settings import ServiceSettings
from services.common.sidecar import Sidecar
from services.common.webapp import make_app, sidecar_check
from services.notification.handlers import Mailer
from services.notification.neighbours import Neighbours
from services.notification.post import Limits, Post
from todoctl.core.events import REMINDERS

_LIMITS = Limits()


def create_app(
    *,
    settings: ServiceSettings,
    sidecar: Sidecar,
    clock: Clock,
    registry: CollectorRegistry,
    page: str = "",
    limits: Limits = _LIMITS,
) -> FastAPI:
    """The application; it connects to nothing before it is asked something. `page` is where links lead."""
    post = Post(limits)
    mailer = Mailer(
        sidecar,
        Neighbours(sidecar, service_token=settings.service_token),
        hand_over=post.hand_over,
        page=page.rstrip("/"),
        clock=clock,
        mails=Counter("reminder_mails", "Mails by what became of them.", ["outcome"], registry=registry),
    )
    consumer = Consumer(
        topic=REMINDERS,
        read=lambda delivery: (read_event(delivery), delivery.origin),
        handle=mailer.handle_all,
        letters=Letters(sidecar, consumer="notification", clock=clock),
        clock=clock,
        metrics=EventMetrics.in_registry(registry),
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with sidecar.opened():
            yield
            await post.aclose()

    checks = {"sidecar": sidecar_check(sidecar), "consumer": consumer_check(consumer)}
    app = make_app(
        title="notification",
        registry=registry,
        checks=checks,
        lifespan=lifespan,
        body_limit=EVENT_BODY_LIMIT,
        openapi=settings.openapi,
        takes_work=settings.takes_work,
    )
    guard = Depends(require_app_token(settings.app_api_token))
    endpoint = BulkRoute(consumer).endpoint
    app.add_api_route(
        "/events/reminders", endpoint, methods=["POST"], dependencies=[guard], name="receive_reminders", **MANY_EVENTS
    )
    return app
