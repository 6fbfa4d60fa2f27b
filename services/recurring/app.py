"""The HTTP application of recurring: the route of its subscription, and the call that a completion leads to."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from fastapi import Depends, FastAPI
from prometheus_client import CollectorRegistry

from services.common.breaker import Clock
from services.common.consumer import EVENT_BODY_LIMIT, ONE_EVENT, EventMetrics, EventRoute, consumer_check
from services.common.delivery import AnyEvent
from services.common.failures import Refused, ServiceFailure, Unavailable
from services.common.guard import require_app_token
from services.common.settings import ServiceSettings
from services.common.sidecar import Sidecar
from services.common.verdicts import RefusedByRuleError
from services.common.webapp import make_app, sidecar_check
from services.recurring.handlers import CREATED, Successor, is_refusal, successor_of
from todoctl.core.dead_letters import Origin
from todoctl.core.events import TASK_EVENTS

log = logging.getLogger(__name__)

# The state is a hint for people; no event waits longer than this for it.
_HINT_SECONDS = 1.0


def create_app(*, settings: ServiceSettings, sidecar: Sidecar, clock: Clock, registry: CollectorRegistry) -> FastAPI:
    """The application; it connects to nothing before it is asked something."""
    generator = Generator(sidecar, service_token=settings.service_token, clock=clock)
    route = EventRoute(
        generator.handle,
        consumer="recurring",
        topic=TASK_EVENTS,
        sidecar=sidecar,
        clock=clock,
        metrics=EventMetrics.in_registry(registry),
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await sidecar.aclose()

    checks = {"sidecar": sidecar_check(sidecar), "consumer": consumer_check(route.consumer)}
    app = make_app(
        title="recurring",
        registry=registry,
        checks=checks,
        lifespan=lifespan,
        body_limit=EVENT_BODY_LIMIT,
        openapi=settings.openapi,
        takes_work=settings.takes_work,
    )
    guard = Depends(require_app_token(settings.app_api_token))
    path, name = "/events/task-events", "receive_task_events"
    app.add_api_route(path, route.endpoint, methods=["POST"], dependencies=[guard], name=name, **ONE_EVENT)
    return app


class Generator:
    """Orders the next task of a series from api; api sees to it that a task has at most one successor."""

    def __init__(self, sidecar: Sidecar, *, service_token: str, clock: Clock) -> None:
        self._sidecar = sidecar
        self._headers = {"x-service-token": service_token}
        self._clock = clock

    async def handle(self, event: AnyEvent, _: Origin) -> None:
        """Do what follows from one event.

        Raises:
            PermanentError: the event can't have a successor, or api refuses it.
            Unavailable: api is away.
        """
        successor = successor_of(event)
        if successor is None:
            return
        await self._order(successor)
        await self._leave_hint(successor)

    async def _order(self, successor: Successor) -> None:
        answer = await self._call_api(successor)
        if answer.status_code in CREATED:
            log.info("next occurrence", extra={"series_id": successor.series_id, "status": answer.status_code})
        elif is_refusal(answer.status_code):
            raise RefusedByRuleError(f"api refused the next occurrence: {answer.status_code} {answer.text[:500]}")
        else:
            raise Unavailable(f"api answered {answer.status_code}")

    async def _call_api(self, successor: Successor) -> httpx.Response:
        try:
            return await self._sidecar.invoke(
                "api", "POST", "/internal/occurrences", json=successor.body, headers=self._headers
            )
        except Refused as exc:
            # Dapr's access rules are about this deployment; the event waits until they are right.
            raise Unavailable(f"the call to api was refused on the way: {exc}") from exc

    async def _leave_hint(self, successor: Successor) -> None:
        hint = {"last_generated_at": self._clock().isoformat(), "index": successor.body["index"]}
        try:
            async with asyncio.timeout(_HINT_SECONDS):
                await self._sidecar.save_state(f"series-{successor.series_id}", hint)
        except (ServiceFailure, TimeoutError) as error:
            log.warning("the hint of a series was not stored", extra={"error": str(error)[:200]})
