"""The routes for other services and the sidecar alone: next tasks, missed changes, whether a reminder stands, jobs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from starlette.responses import Response

from services.api import queries
from services.api.parts import Shared, etag
from services.api.reminders import which_are_current
from services.api.schemas import (
    LARGEST,
    ChangePage,
    FiredReminders,
    Heads,
    HeadsOf,
    NextOccurrence,
    ReminderStanding,
    ReminderStandings,
    TaskView,
)
from services.common import context
from services.common.guard import require_app_token, require_header
from services.common.moments import Moment
from services.common.openapi import Responses, refusals, task_answers
from services.common.settings import ServiceSettings

_OCCURRENCE: Responses = task_answers(200, 201) | refusals(404)
_OCCURRENCE[200] |= {"model": TaskView, "description": "The one that was there."}


def make_router(settings: ServiceSettings) -> APIRouter:
    """The internal routes, behind the sidecar's token and the service's own."""
    guards = [
        Depends(require_app_token(settings.app_api_token)),
        Depends(require_header("x-service-token", settings.service_token)),
    ]
    router = APIRouter(prefix="/internal", dependencies=guards)
    router.add_api_route(
        "/occurrences",
        create_occurrence,
        methods=["POST"],
        status_code=201,
        response_model=TaskView,
        responses=_OCCURRENCE,
    )
    router.add_api_route("/reminders/{reminder_id}", read_standing, methods=["GET"], response_model=ReminderStanding)
    router.add_api_route("/reminder-standings", read_standings, methods=["POST"], response_model=ReminderStandings)
    router.add_api_route("/users/{user_id}/changes", read_changes_of, methods=["GET"], response_model=ChangePage)
    router.add_api_route("/heads", read_heads, methods=["POST"], response_model=Heads)
    return router


def make_job_router(settings: ServiceSettings, wake: Callable[[], None]) -> APIRouter:
    """The callback of the scheduler's jobs; it only wakes, so a repeated or late one is harmless."""
    router = APIRouter(dependencies=[Depends(require_app_token(settings.app_api_token))])

    @router.post("/job/{name}", status_code=204, responses=refusals(503))
    async def job(name: str) -> None:  # noqa: ARG001 - whichever second it was, everything due is claimed
        """Wake the reminders."""
        wake()

    return router


async def read_standing(
    reminder_id: Annotated[int, Path(ge=1, le=LARGEST)], trigger_at: Annotated[Moment, Query()], parts: Shared
) -> ReminderStanding:
    """Tell whether the reminder that fired for `trigger_at` is still to be sent."""
    return ReminderStanding(current=bool(await which_are_current(parts.database, [(reminder_id, trigger_at)])))


async def read_standings(asked: FiredReminders, parts: Shared) -> ReminderStandings:
    """Tell the same of many reminders, in their order and in one query."""
    wanted = [(item.reminder_id, item.trigger_at) for item in asked.reminders]
    current = await which_are_current(parts.database, wanted)
    return ReminderStandings(current=[item in current for item in wanted])


async def read_changes_of(
    user_id: Annotated[int, Path(ge=1, le=LARGEST)],
    parts: Shared,
    since: Annotated[int | None, Query(ge=0, le=LARGEST)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 200,
) -> ChangePage:
    """Read a user's changes after a cursor; without one, where to start after listing the tasks."""
    async with parts.database.transaction() as session:
        # The head is read first: whatever is at or before it was committed, so the rows read next are all there are.
        head = (await queries.heads(session, [user_id])).get(user_id, 0)
        if since is None:
            return ChangePage(items=[], cursor=head, head=head, resync=True)
        page = await queries.changes(session, user_id, since, limit)
    if page.resync or len(page.items) == limit:
        return page
    # Numbers that no change has (a reminder's event, say) are passed too, or a reader would never arrive.
    return page.model_copy(update={"cursor": max(page.cursor, head)})


async def read_heads(asked: HeadsOf, parts: Shared) -> Heads:
    """Read where the changes of many users end, in one query; a user without changes is left out."""
    async with parts.database.transaction() as session:
        return Heads(heads=await queries.heads(session, asked.user_ids))


async def create_occurrence(order: NextOccurrence, parts: Shared) -> Response:
    """Create the task that follows a completed one: 201, or 200 with the one that is there already."""
    context.correlation_id.set(order.correlation_id)
    context.user_id.set(order.user_id)
    with parts.metrics.failures_of("occurrence"):
        answer = await parts.writer.succeed(order)
    parts.metrics.operations.labels("occurrence", answer.outcome).inc()
    return Response(answer.body, answer.status, {"etag": etag(answer.version)}, media_type="application/json")
