"""Each service's OpenAPI document, served at /openapi.json where `OPENAPI=on`; see docs/openapi.md.

FastAPI writes down what a route declares; added here is what the frame of every service answers besides: problem
details for each refusal, the headers that matter, and that all of a route's doors must be passed, not one of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from services.common.problems import MEDIA_TYPE

Responses = dict[int | str, dict[str, Any]]

PATH = "/openapi.json"
_METHODS = ("get", "put", "post", "patch", "delete")
_PROBLEM = {"$ref": "#/components/schemas/Problem"}

_SCHEMAS: dict[str, Any] = {
    "FieldError": {
        "type": "object",
        "title": "FieldError",
        "required": ["field", "message"],
        "properties": {
            "field": {"type": "string", "description": "The field's path, such as tags.0.", "examples": ["title"]},
            "message": {"type": "string", "examples": ["should have at least 1 character"]},
        },
    },
    "Problem": {
        "type": "object",
        "title": "Problem",
        "description": "What went wrong (RFC 9457); `code` is for programs and stays, `detail` is for people.",
        "required": ["type", "title", "status", "code", "detail", "correlation_id"],
        "properties": {
            "type": {"type": "string", "examples": ["about:blank"]},
            "title": {"type": "string"},
            "status": {"type": "integer", "minimum": 400, "maximum": 599},
            "code": {"type": "string", "pattern": "^[a-z0-9_'-]+$"},
            "detail": {"type": "string"},
            "correlation_id": {"type": ["string", "null"], "description": "The request's id, as in the logs."},
            "errors": {"type": "array", "items": {"$ref": "#/components/schemas/FieldError"}},
        },
    },
}
_HEADERS: dict[str, Any] = {
    "RequestId": {
        "description": "The request's id: the client's own X-Request-Id where it is sane, else a new one.",
        "required": True,
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"},
    },
    "RetryAfter": {
        "description": "Seconds after which the request may be sent again.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    },
    "Challenge": {"description": "What is missing.", "required": True, "schema": {"type": "string"}},
    "ETag": {
        "description": "The task's version, for If-Match.",
        "required": True,
        "schema": {"type": "string", "pattern": '^"[0-9]+"$'},
    },
    "Replayed": {
        "description": "true: the kept answer to an earlier request with the same Idempotency-Key.",
        "schema": {"type": "string", "enum": ["true"]},
    },
}
_CODES = {
    400: ("invalid", "the body is no JSON"),
    401: ("unauthorized", "send Authorization: Bearer with an access token"),
    403: ("forbidden", "only operators see other users' entries"),
    404: ("not_found", "no such task"),
    408: ("too_slow", "the body took too long to come"),
    409: ("version_conflict", "the task is at version 3, not 2"),
    412: ("precondition_failed", "the task is at version 3"),
    413: ("too_large", "a body may have up to 262144 bytes"),
    415: ("unsupported_media_type", "send the body as application/json"),
    422: ("invalid", "the request is not valid"),
    429: ("rate_limited", "too many requests"),
    500: ("internal", "something went wrong here; it was logged"),
    503: ("unavailable", "a dependency is away; try again"),
}


def refusals(*statuses: int) -> Responses:
    """What a route may answer besides success, for its `responses`; what every route may is added to it."""
    return {status: _refusal(status) for status in statuses}


def task_answers(*statuses: int) -> Responses:
    """The headers of answers that carry a task's version, for a route's `responses`."""
    headers = {"ETag": _header("ETag"), "Idempotency-Replayed": _header("Replayed")}
    return {status: {"headers": headers} for status in statuses}


def serve_openapi(app: FastAPI, *, is_on: bool) -> None:
    """Answer GET /openapi.json with what the application's routes are by then, or 404 where it is off."""
    app.openapi = lambda: document(app)  # type: ignore[method-assign]  # FastAPI's own way to extend the document

    if is_on:

        @app.get(PATH, include_in_schema=False)
        async def openapi() -> dict[str, Any]:
            return app.openapi()


def document(app: FastAPI) -> dict[str, Any]:
    """The document of the application's routes, made once."""
    if app.openapi_schema is None:
        made = get_openapi(title=app.title, version=app.version, openapi_version=app.openapi_version, routes=app.routes)
        _complete(made)
        app.openapi_schema = made
    return app.openapi_schema


def _complete(made: dict[str, Any]) -> None:
    components = made.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas |= _SCHEMAS
    components["headers"] = _HEADERS
    made["servers"] = [{"url": "/"}]
    for path in made["paths"].values():
        for method in _METHODS:
            if method in path:
                _complete_operation(path[method])


def _complete_operation(operation: dict[str, Any]) -> None:
    if doors := operation.get("security"):
        # FastAPI lists them as alternatives.
        operation["security"] = [{name: scopes for door in doors for name, scopes in door.items()}]
    for parameter in operation.get("parameters", ()):
        # No header and no query can say null; what may be left out is not required.
        kinds = [kind for kind in parameter["schema"].pop("anyOf", ()) if kind != {"type": "null"}]
        parameter["schema"] |= kinds[0] if len(kinds) == 1 else {"anyOf": kinds} if kinds else {}
    responses = operation["responses"]
    for status in _common(operation):
        # FastAPI's own 422 has another form.
        if status == 422 or str(status) not in responses:
            responses[str(status)] = _refusal(status)
    for response in responses.values():
        response.setdefault("headers", {})["X-Request-Id"] = _header("RequestId")
    operation["responses"] = dict(sorted(responses.items()))


def _common(operation: dict[str, Any]) -> Iterable[int]:
    """The refusals that follow from what an operation takes."""
    yield 500
    if "security" in operation:
        yield from (401, 503)
    if "requestBody" in operation:
        yield from (400, 408, 413)
    if "422" in operation["responses"]:
        yield 422


def _refusal(status: int) -> dict[str, Any]:
    code, detail = _CODES[status]
    example: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "code": code,
        "detail": detail,
        "correlation_id": "0b6d7d0c6d0e4a3c8a537f5d6a0d8b11",
    }
    if status == 422:
        example["errors"] = [{"field": "title", "message": "should have at least 1 character"}]
    names = {401: {"WWW-Authenticate": "Challenge"}, 429: {"Retry-After": "RetryAfter"}}
    names[503] = names[429]
    refusal = {
        "description": HTTPStatus(status).phrase,
        "content": {MEDIA_TYPE: {"schema": _PROBLEM, "example": example}},
    }
    headers = {name: _header(component) for name, component in names.get(status, {}).items()}
    return refusal | ({"headers": headers} if headers else {})


def _header(component: str) -> dict[str, str]:
    return {"$ref": f"#/components/headers/{component}"}
