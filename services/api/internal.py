"""The route for the recurring service alone: the next task of a series."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from starlette.responses import Response

from services.api.parts import Shared, etag
from services.api.schemas import NextOccurrence, TaskView
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
    return router


async def create_occurrence(order: NextOccurrence, parts: Shared) -> Response:
    """Create the task that follows a completed one: 201, or 200 with the one that is there already."""
    context.correlation_id.set(order.correlation_id)
    context.user_id.set(order.user_id)
    with parts.metrics.failures_of("occurrence"):
        answer = await parts.writer.succeed(order)
    parts.metrics.operations.labels("occurrence", answer.outcome).inc()
    return Response(answer.body, answer.status, {"etag": etag(answer.version)}, media_type="application/json")
