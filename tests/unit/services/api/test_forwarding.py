"""Routes of auth and audit on api's own origin: what goes through, and what never does."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from prometheus_client import CollectorRegistry
from starlette.responses import Response

from services.api.forwarding import FORWARDED, make_router
from services.common.sidecar import Sidecar
from services.common.webapp import make_app
from tests.unit.services.fake_sidecar import FakeSidecar


class Behind:
    """A service that keeps what came and answers as it is told."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []
        self.answer = Response(b"{}", media_type="application/json")
        self.app = FastAPI()
        self.app.add_route("/{path:path}", self._serve, methods=["GET", "POST", "PUT", "DELETE"])

    async def _serve(self, request: Request) -> Response:
        seen = {"method": request.method, "url": str(request.url), "headers": dict(request.headers)}
        self.seen.append(seen | {"body": await request.body()})
        return self.answer


@pytest.fixture
def behind() -> Behind:
    """What lies behind the sidecar."""
    return Behind()


@pytest.fixture
def fake(behind: Behind) -> FakeSidecar:
    """A sidecar that reaches it as auth and as audit."""
    return FakeSidecar(apps={"auth": behind.app, "audit": behind.app})


@pytest.fixture
def http(fake: FakeSidecar) -> httpx.AsyncClient:
    """A browser at 203.0.113.9."""
    app = make_app(title="api", registry=CollectorRegistry(), checks={})
    app.include_router(make_router(Sidecar(http_port=1, api_token=fake.token, transport=fake.transport)))
    transport = httpx.ASGITransport(app, client=("203.0.113.9", 1234))
    return httpx.AsyncClient(transport=transport, base_url="http://api")


async def test_a_request_goes_through_as_it_is(http: httpx.AsyncClient, behind: Behind) -> None:
    """Body, content type, token, query and the request's id reach the service."""
    body = b'{"email": "a@example.org", "password": "\\u00e4"}'
    headers = {"content-type": "application/json", "x-request-id": "abc"}
    await http.post("/api/auth/login", content=body, headers=headers)
    await http.get("/api/audit/logs?limit=2&action_type=a%26b", headers={"authorization": "Bearer t"})
    login, logs = behind.seen
    assert login["body"] == body
    assert login["headers"]["content-type"] == "application/json"
    assert login["headers"]["x-request-id"] == "abc"
    assert logs["url"].endswith("/api/audit/logs?limit=2&action_type=a%26b")
    assert logs["headers"]["authorization"] == "Bearer t"


async def test_no_client_can_say_who_it_is_to_the_inside(http: httpx.AsyncClient, behind: Behind) -> None:
    """The address is the connection's; internal, forwarding and hop-by-hop headers of a client stay outside."""
    made_up = {
        "x-client-address": "10.0.0.1",
        "x-forwarded-for": "10.0.0.1",
        "forwarded": "for=10.0.0.1",
        "dapr-api-token": "guess",
        "x-service-token": "guess",
        "dapr-app-id": "audit",
        "cookie": "a=b",
        "te": "trailers",
    }
    await http.get("/api/auth/me", headers=made_up)
    headers = behind.seen[0]["headers"]
    assert headers["x-client-address"] == "203.0.113.9"
    assert headers["dapr-api-token"] == "app-token"
    assert not {"x-forwarded-for", "forwarded", "x-service-token", "dapr-app-id", "cookie", "te"} & set(headers)


async def test_an_answer_comes_back_as_it_is(http: httpx.AsyncClient, behind: Behind) -> None:
    """Status, problem, WWW-Authenticate and Retry-After; nothing that is not meant for clients."""
    told = {
        "www-authenticate": "Bearer",
        "retry-after": "6",
        "cache-control": "no-store",
        "x-internal": "secret",
        "set-cookie": "a=b",
    }
    behind.answer = Response(b'{"status": 429}', 429, told, media_type="application/problem+json")
    answer = await http.post("/api/auth/login", json={})
    assert (answer.status_code, answer.content) == (429, b'{"status": 429}')
    assert answer.headers["content-type"] == "application/problem+json"
    assert [answer.headers[name] for name in ("www-authenticate", "retry-after", "cache-control")] == [
        "Bearer",
        "6",
        "no-store",
    ]
    assert not {"x-internal", "set-cookie"} & set(answer.headers)


async def test_a_service_that_is_away_is_503(http: httpx.AsyncClient, fake: FakeSidecar) -> None:
    """Neither the sidecar's error nor a 500 reaches a client."""
    fake.apps = {}
    answer = await http.post("/api/auth/login", json={})
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert answer.json()["code"] == "unavailable"
    fake.away = True
    assert (await http.get("/api/audit/logs")).status_code == 503


async def test_a_body_has_its_limit(http: httpx.AsyncClient, behind: Behind) -> None:
    """What is too large is refused here and never sent on."""
    answer = await http.post("/api/auth/register", content=b"x" * (300 * 1024))
    assert answer.status_code == 413
    assert behind.seen == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/auth/login", 405),
        ("DELETE", "/api/auth/me", 405),
        ("POST", "/api/audit/logs", 405),
        ("GET", "/api/auth/keys", 404),
        ("GET", "/api/auth/../../internal/users/1", 404),
        ("GET", "/api/auth/%2e%2e/%2e%2e/internal/users/1", 404),
        ("GET", "/api/auth/me/", 404),
        ("POST", "/internal/keys/rotate", 404),
    ],
)
async def test_only_the_listed_routes_lead_inside(
    http: httpx.AsyncClient, behind: Behind, method: str, path: str, status: int
) -> None:
    """The list is closed: no other path or method reaches a service."""
    answer = await http.request(method, path, follow_redirects=False)
    assert answer.status_code in {status, 307}
    assert behind.seen == []


def test_nothing_internal_is_on_the_list() -> None:
    """Every forwarded path is a public one."""
    assert all(route.path.startswith("/api/") for route in FORWARDED)
