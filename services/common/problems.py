"""Errors as RFC 9457 problem details: what went wrong, by field where a field is to blame."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from services.common.context import correlation_id
from services.common.failures import ServiceFailure, Unavailable
from services.common.wording import words

_log = logging.getLogger("services.problems")


MEDIA_TYPE = "application/problem+json"
_METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")


class Problem(Exception):  # noqa: N818 - RFC 9457's own word
    """An answer other than success; `code` is a stable word for programs, `detail` a sentence for people."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[Mapping[str, str]] = (),
    ) -> None:
        super().__init__(f"{status} {code}: {detail}")
        self.status, self.code, self.detail = status, code, detail
        self.headers, self.errors = dict(headers or {}), list(errors)

    @property
    def title(self) -> str:
        """What the status means, in a few words."""
        return _phrase(self.status)


def field_problem(field: str, message: str) -> Problem:
    """The 422 that names one field."""
    return Problem(422, "invalid", "the request is not valid", errors=[{"field": field, "message": message}])


def too_many(seconds: float) -> Problem:
    """The 429 that says when to come back."""
    return Problem(429, "rate_limited", "too many requests", headers=retry_after(seconds))


def unavailable(detail: str, *, seconds: float = 1.0) -> Problem:
    """The 503 that says when to come back."""
    return Problem(503, "unavailable", detail, headers=retry_after(seconds))


def retry_after(seconds: float) -> dict[str, str]:
    """The Retry-After header, in whole seconds, never 0."""
    return {"retry-after": str(max(1, math.ceil(seconds)))}


def render(problem: Problem) -> Response:
    """The HTTP response that tells `problem`."""
    return Response(body_of(problem), problem.status, problem.headers, media_type=MEDIA_TYPE)


def body_of(problem: Problem) -> bytes:
    """The document that tells `problem`."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": problem.title,
        "status": problem.status,
        "code": problem.code,
        "detail": problem.detail,
        "correlation_id": correlation_id.get(),
    }
    if problem.errors:
        body["errors"] = problem.errors
    # ASCII only: a lone surrogate in a client's own text must not break the answer that refuses it.
    return json.dumps(body, ensure_ascii=True).encode()


def install(app: FastAPI) -> None:
    """Have every error of `app` answered as a problem; an unforeseen one is the outermost middleware's."""
    for kind, handler in (
        (Problem, _problem),
        (RequestValidationError, _invalid),
        (HTTPException, _http),
        (ServiceFailure, _failure),
    ):
        app.add_exception_handler(kind, handler)  # type: ignore[arg-type]  # Starlette types handlers by Exception


async def _problem(_: Request, problem: Problem) -> Response:
    return render(problem)


async def _invalid(_: Request, error: RequestValidationError) -> Response:
    # Only place and message: the value that was sent stays out of answers and logs.
    errors = [{"field": _field(item), "message": words(item)} for item in error.errors()]
    status = 400 if any(item["type"] == "json_invalid" for item in error.errors()) else 422
    return render(Problem(status, "invalid", "the request is not valid", errors=errors))


async def _http(request: Request, error: HTTPException) -> Response:
    code = _phrase(error.status_code).lower().replace(" ", "_")
    headers = {"allow": _allowed(request)} if error.status_code == 405 else error.headers
    return render(Problem(error.status_code, code, str(error.detail), headers=headers))


def _allowed(request: Request) -> str:
    """The methods that the request's path has; the framework names those of the first route that fits."""
    scope, routes = request.scope, request.app.routes
    return ", ".join(
        method
        for method in _METHODS
        if any(route.matches({**scope, "method": method})[0] is Match.FULL for route in routes)
    )


async def _failure(_: Request, error: ServiceFailure) -> Response:
    _log.warning("a dependency failed: %s", error)
    if isinstance(error, Unavailable):
        return render(unavailable("a dependency is away; try again", seconds=error.retry_after))
    return render(Problem(502, "refused_upstream", "a dependency refused the call"))


def _field(item: Mapping[str, Any]) -> str:
    if item["type"] == "json_invalid":
        # Its place is a number of characters.
        return "body"
    parts = [str(part)[:100] for part in item["loc"]]
    named = parts[1:] if parts[:1] and parts[0] in {"body", "query", "path", "header"} else parts
    return ".".join(named) or parts[0]


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
