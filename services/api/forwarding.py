"""One public origin for the page: routes of auth and audit, answered by those services through the sidecar."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from services.common.context import correlation_id
from services.common.peers import ADDRESS_HEADER
from services.common.sidecar import Sidecar

# Hashing a password waits for its turn when many log in.
_SECONDS = 15.0
# Both lists are closed: nothing that a client invents reaches a service, nothing internal comes out.
_REQUEST = ("accept", "authorization", "content-type")
_RESPONSE = ("cache-control", "content-type", "etag", "retry-after", "www-authenticate")


@dataclass(frozen=True)
class Forwarded:
    """A route of another service that may be called from outside."""

    method: str
    path: str
    service: str


FORWARDED = (
    Forwarded("POST", "/api/auth/register", "auth"),
    Forwarded("POST", "/api/auth/login", "auth"),
    Forwarded("GET", "/api/auth/me", "auth"),
    Forwarded("GET", "/api/audit/logs", "audit"),
)


def make_router(sidecar: Sidecar) -> APIRouter:
    """A route for each forwarded one; status, body and the headers that matter come back as they are."""
    routes = APIRouter()
    for route in FORWARDED:
        _forward(routes, route, sidecar)
    return routes


async def _whole_body(request: Request) -> bytes:
    return await request.body()


def _forward(routes: APIRouter, route: Forwarded, sidecar: Sidecar) -> None:
    async def forward(request: Request, body: bytes = Depends(_whole_body)) -> Response:
        query = request.scope["query_string"].decode("latin-1")
        answer = await sidecar.invoke(
            route.service,
            route.method,
            f"{route.path}?{query}" if query else route.path,
            content=body or None,
            headers=_headers(request),
            timeout=_SECONDS,
        )
        kept = {name: answer.headers[name] for name in _RESPONSE if name in answer.headers}
        return Response(answer.content, answer.status_code, kept)

    # The service that answers describes it in its own OpenAPI.
    routes.add_api_route(route.path, forward, methods=[route.method], include_in_schema=False)


def _headers(request: Request) -> dict[str, str]:
    headers = {name: request.headers[name] for name in _REQUEST if name in request.headers}
    headers["x-request-id"] = correlation_id.get() or ""
    # auth counts tries by address; to it every forwarded call comes from the sidecar.
    headers[ADDRESS_HEADER] = request.client.host if request.client else "unknown"
    return headers
