"""What the routes share: the collaborators of the running application, and who is asking."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated

from fastapi import Depends, Header, Request
from pydantic import BaseModel

from services.api.metrics import ApiMetrics
from services.api.models import Task
from services.api.writes import Ticket, Writer
from services.common.context import correlation_id
from services.common.database import Database
from services.common.problems import Problem, too_many
from services.common.ratelimit import TokenBuckets
from services.common.tokens import CurrentUser, Principal


@dataclass(frozen=True)
class Parts:
    """The collaborators that every route may need."""

    writer: Writer
    database: Database
    metrics: ApiMetrics
    buckets: TokenBuckets


async def parts_of(request: Request) -> Parts:
    """The collaborators of the application that serves the request."""
    found: Parts = request.app.state.parts
    return found


Shared = Annotated[Parts, Depends(parts_of)]


async def within_limits(caller: CurrentUser, parts: Shared) -> Principal:
    """Who asks, within their share of requests."""
    if wait := parts.buckets.take(caller.user_id):
        raise too_many(wait)
    return caller


async def json_only(request: Request) -> None:
    """Refuse a body that doesn't say it is JSON."""
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media != "application/json":
        raise Problem(415, "unsupported_media_type", "send the body as application/json")


User = Annotated[Principal, Depends(within_limits)]
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=128,
        pattern=r"^[\x20-\x7e]+$",
        description="Names this request; sent again with the same key it has one effect and the same answer.",
    ),
]
IfMatch = Annotated[
    str | None,
    Header(alias="If-Match", max_length=1000, description="The ETag that the task must have; 412 if it has another."),
]


def ticket(request: Request, user: Principal, key: str | None, body: BaseModel | None = None) -> Ticket:
    """The ticket of a write: a repeated request is the same method, path, condition and meaning of the body."""
    content = "" if body is None else body.model_dump_json(exclude_unset=True)
    parts = (request.method, request.scope["path"], request.headers.get("if-match", ""), content)
    return Ticket(
        user_id=user.user_id,
        correlation_id=correlation_id.get() or "",
        key=key,
        digest=sha256("\n".join(parts).encode()).digest(),
    )


def expect(if_match: str | None, version: int | None = None) -> Callable[[Task], None]:
    """A check that refuses a task at another version than the client knows."""

    def check(task: Task) -> None:
        wanted = None if if_match is None else {tag.strip() for tag in if_match.split(",")}
        if wanted is not None and not wanted & {"*", etag(task.version)}:
            raise Problem(412, "precondition_failed", f"the task is at version {task.version}")
        if version is not None and version != task.version:
            raise Problem(409, "version_conflict", f"the task is at version {task.version}, not {version}")

    return check


def etag(version: int) -> str:
    """The entity tag of a task's version."""
    return f'"{version}"'
