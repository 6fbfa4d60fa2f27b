"""The public routes: tasks of the user whom the access token names, everything else is 404."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel
from starlette.responses import Response

from services.api import handlers, queries
from services.api.changes import EventType
from services.api.parts import IfMatch, Key, Parts, Shared, User, etag, expect, json_only, ticket
from services.api.schemas import (
    LARGEST,
    ChangePage,
    ChangeQuery,
    NewTask,
    TaskEdit,
    TaskPage,
    TaskQuery,
    TaskSearch,
    TaskView,
)
from services.api.writes import Answer, Apply, Check, Ticket, no_such_task
from services.common.numbers import AS_WRITTEN
from services.common.openapi import refusals, task_answers
from services.common.strict import StrictRoute

router = APIRouter(prefix="/api", responses=refusals(429), route_class=StrictRoute)

TaskId = Annotated[int, Path(ge=1, le=LARGEST), AS_WRITTEN]
_JSON = [Depends(json_only)]
_TOLD = task_answers(200)


@router.post(
    "/tasks", status_code=201, response_model=TaskView, dependencies=_JSON, responses=task_answers(201) | refusals(415)
)
async def create(request: Request, wanted: NewTask, user: User, parts: Shared, key: Key = None) -> Response:
    """Create a task."""
    with parts.metrics.failures_of("create"):
        answer = await parts.writer.create(ticket(request, user, key, wanted), wanted, user_zone=user.zone)
    return _told(parts, "create", answer)


@router.get("/tasks", response_model=TaskPage)
async def list_tasks(query: Annotated[TaskQuery, Query()], user: User, parts: Shared) -> Response:
    """List tasks."""
    return await _page(parts, user.user_id, query)


@router.get("/tasks/filter", response_model=TaskPage)
async def filter_tasks(query: Annotated[TaskQuery, Query()], user: User, parts: Shared) -> Response:
    """List the tasks that fit all given conditions."""
    return await _page(parts, user.user_id, query)


@router.get("/tasks/search", response_model=TaskPage)
async def search_tasks(query: Annotated[TaskSearch, Query()], user: User, parts: Shared) -> Response:
    """List the tasks whose title or description holds a text."""
    return await _page(parts, user.user_id, query)


@router.get("/tasks/{task_id}", response_model=TaskView, responses=_TOLD | refusals(404))
async def read(task_id: TaskId, user: User, parts: Shared) -> Response:
    """Read a task; its ETag is its version."""
    async with parts.database.transaction() as session:
        task = await queries.one_task(session, user.user_id, task_id)
    if task is None:
        raise no_such_task()
    return _json(task, headers={"etag": etag(task.version)})


@router.patch(
    "/tasks/{task_id}",
    response_model=TaskView,
    dependencies=_JSON,
    responses=_TOLD | refusals(404, 409, 412, 415),
)
async def edit(
    request: Request,
    task_id: TaskId,
    wanted: TaskEdit,
    user: User,
    parts: Shared,
    key: Key = None,
    if_match: IfMatch = None,
) -> Response:
    """Change the given fields of a task."""
    write = ticket(request, user, key, wanted)
    check = expect(if_match, wanted.version)
    return await _change(
        parts, write, task_id, "task.updated", lambda task, now: handlers.edit(task, wanted, now), check
    )


@router.post("/tasks/{task_id}/complete", response_model=TaskView, responses=_TOLD | refusals(404, 412))
async def complete(
    request: Request, task_id: TaskId, user: User, parts: Shared, key: Key = None, if_match: IfMatch = None
) -> Response:
    """Complete a task; one that is completed stays as it is."""
    write = ticket(request, user, key)
    return await _change(parts, write, task_id, "task.completed", handlers.complete, expect(if_match))


@router.post("/tasks/{task_id}/reopen", response_model=TaskView, responses=_TOLD | refusals(404, 412))
async def reopen(
    request: Request, task_id: TaskId, user: User, parts: Shared, key: Key = None, if_match: IfMatch = None
) -> Response:
    """Open a completed task again; one that is open stays as it is."""
    write = ticket(request, user, key)
    return await _change(parts, write, task_id, "task.reopened", handlers.reopen, expect(if_match))


@router.delete(
    "/tasks/{task_id}", status_code=204, response_class=Response, responses=task_answers(204) | refusals(404, 412)
)
async def delete(
    request: Request, task_id: TaskId, user: User, parts: Shared, key: Key = None, if_match: IfMatch = None
) -> Response:
    """Delete a task."""
    write = ticket(request, user, key)
    return await _change(parts, write, task_id, "task.deleted", handlers.delete, expect(if_match))


@router.get("/changes", response_model=ChangePage)
async def read_changes(query: Annotated[ChangeQuery, Query()], user: User, parts: Shared) -> Response:
    """Read what changed after a cursor."""
    async with parts.database.transaction() as session:
        return _json(await queries.changes(session, user.user_id, query.since, query.limit))


async def _page(parts: Parts, user_id: int, query: TaskQuery) -> Response:
    async with parts.database.transaction() as session:
        return _json(await queries.page(session, user_id, query))


async def _change(
    parts: Parts, write: Ticket, task_id: int, event_type: EventType, apply: Apply, check: Check
) -> Response:
    operation = {"task.updated": "update"}.get(event_type, apply.__name__)
    with parts.metrics.failures_of(operation):
        answer = await parts.writer.change(write, task_id, event_type, apply, check)
    return _told(parts, operation, answer)


def _told(parts: Parts, operation: str, answer: Answer) -> Response:
    """The response for a write's answer, counted."""
    parts.metrics.operations.labels(operation, answer.outcome).inc()
    headers = {"etag": etag(answer.version)}
    if answer.outcome == "replayed":
        headers["idempotency-replayed"] = "true"
    return Response(answer.body, answer.status, headers, media_type="application/json" if answer.body else None)


def _json(model: BaseModel, *, headers: dict[str, str] | None = None) -> Response:
    return Response(model.model_dump_json(), headers=headers, media_type="application/json")
