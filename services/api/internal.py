"""The routes for other services and the sidecar alone: a series' next task, whether a reminder stands, a job's callback."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from pydantic import AwareDatetime
from starlette.responses import Response

from services.api.parts import Shared, etag
from services.api.reminders import is_current
from services.api.schemas import LARGEST, NextOccurrence, ReminderStanding, TaskView
from services.common import context
from services.common.guard import require_app_token, require_header
from services.common.settings import ServiceSettings


def make_router(settings: ServiceSettings) -> APIRouter:
    """The internal routes, behind the sidecar's token and the service's own."""
    guards = [
        Depends(require_app_token(settings.app_api_token)),
        Depends(require_header("x-service-token", settings.service_token)),
    ]
    router = APIRouter(prefix="/internal", dependencies=guards)
    router.add_api_route("/occurrences", create_occurrence, methods=["POST"], status_code=201, response_model=TaskView)
    router.add_api_route("/reminders/{reminder_id}", read_standing, methods=["GET"], response_model=ReminderStanding)
    return router


def make_job_router(settings: ServiceSettings, wake: Callable[[], None]) -> APIRouter:
    """The callback of the scheduler's jobs; it only wakes, so a repeated or late one is harmless."""
    router = APIRouter(dependencies=[Depends(require_app_token(settings.app_api_token))])

    @router.post("/job/{name}", status_code=204)
    async def job(name: str) -> None:  # noqa: ARG001 - whichever second it was, everything due is claimed
        wake()

    return router


async def read_standing(
    reminder_id: Annotated[int, Path(ge=1, le=LARGEST)], trigger_at: Annotated[AwareDatetime, Query()], parts: Shared
) -> ReminderStanding:
    """Tell whether the reminder that fired for `trigger_at` is still to be sent."""
    return ReminderStanding(current=await is_current(parts.database, reminder_id, trigger_at))


async def create_occurrence(order: NextOccurrence, parts: Shared) -> Response:
    """Create the task that follows a completed one: 201, or 200 with the one that is there already."""
    context.correlation_id.set(order.correlation_id)
    context.user_id.set(order.user_id)
    with parts.metrics.failures_of("occurrence"):
        answer = await parts.writer.succeed(order)
    parts.metrics.operations.labels("occurrence", answer.outcome).inc()
    return Response(answer.body, answer.status, {"etag": etag(answer.version)}, media_type="application/json")
