"""The frame of every service: health, problems, limits, ids and metrics, whatever a client sends."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import httpx
import pytest
from fastapi import Depends, Query
from prometheus_client import CollectorRegistry
from pydantic import BaseModel, Field
from starlette.types import Receive, Scope, Send

from services.common import logs
from services.common.context import correlation_id, user_id
from services.common.failures import Refused, Unavailable
from services.common.guard import require_app_token, require_header
from services.common.limits import BodyLimitMiddleware
from services.common.problems import Problem, too_many
from services.common.webapp import make_app


class Body(BaseModel):
    title: Annotated[str, Field(max_length=900)]
    count: Annotated[int, Field(le=1000)] = 1


class Frame:
    """An application with routes that fail in every way."""

    def __init__(self) -> None:
        self.missing: str | None = None
        self.registry = CollectorRegistry()
        self.app = make_app(title="t", registry=self.registry, checks={"thing": self.check}, body_limit=1000)
        transport = httpx.ASGITransport(self.app)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://t")
        routes = self.app

        @routes.post("/bodies")
        async def bodies(body: Body) -> Body:
            return body

        @routes.get("/fail/{kind}")
        async def fail(kind: str) -> None:
            user_id.set(7)
            raise {
                "bug": RuntimeError("secret detail"),
                "away": Unavailable("postgres at 10.0.0.1", retry_after=2.5),
                "refused": Refused("403"),
                "problem": Problem(409, "taken", "it is taken", headers={"x-more": "1"}),
                "often": too_many(0.2),
            }[kind]

        @routes.get("/limited")
        async def limited(limit: Annotated[int, Query(ge=1, le=200)] = 1) -> int:
            return limit

        @routes.get("/inside", dependencies=[Depends(require_app_token("app-token"))])
        async def inside() -> str:
            return str(correlation_id.get())

    async def check(self) -> str | None:
        return self.missing

    def total(self, **labels: str) -> float:
        return self.registry.get_sample_value("http_requests_total", labels) or 0


@pytest.fixture
async def frame() -> AsyncIterator[Frame]:
    """The frame with its routes."""
    made = Frame()
    yield made
    await made.http.aclose()


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What the process logs."""
    stream = io.StringIO()
    root = logging.getLogger()
    kept, level = root.handlers[:], root.level
    logs.configure("test", "info", stream)
    yield stream
    root.handlers[:] = kept
    root.setLevel(level)


async def test_health(frame: Frame) -> None:
    """Alive always; ready only with nothing missing and while not stopping."""
    assert (await frame.http.get("/healthz")).json() == {"status": "ok"}
    assert (await frame.http.get("/readyz")).status_code == 200
    frame.missing = "paused: too many errors"
    response = await frame.http.get("/readyz")
    assert response.status_code == 503
    assert response.json()["missing"] == {"thing": "paused: too many errors"}
    frame.missing = None
    frame.app.state.draining = True
    assert (await frame.http.get("/readyz")).json()["missing"] == {"process": "stopping"}


async def test_work() -> None:
    """The sidecar is told at each asking, and clients are told nothing of it."""
    on = True
    app = make_app(title="t", registry=CollectorRegistry(), checks={}, takes_work=lambda: on)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
        assert (await http.get("/workz")).json() == {"status": "on"}
        on = False
        answer = await http.get("/workz")
        assert (answer.status_code, answer.json()) == (503, {"status": "idle"})
        assert (await http.get("/readyz")).status_code == 200
    assert "/workz" not in app.openapi()["paths"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("GET", "/docs", 404, "not_found"),
        ("GET", "/openapi.json", 404, "not_found"),
        ("DELETE", "/bodies", 405, "method_not_allowed"),
        ("TRACE", "/bodies", 405, "method_not_allowed"),
        ("GET", "/fail/problem", 409, "taken"),
        ("GET", "/fail/often", 429, "rate_limited"),
        ("GET", "/fail/bug", 500, "internal"),
        ("GET", "/fail/away", 503, "unavailable"),
        ("GET", "/fail/refused", 502, "refused_upstream"),
        ("GET", "/limited?limit=0", 422, "invalid"),
        ("GET", "/limited?limit=99999999999999999999999", 422, "invalid"),
        ("GET", "/inside", 401, "unauthorized"),
    ],
)
async def test_problem(frame: Frame, method: str, path: str, status: int, code: str) -> None:
    """Each error is a problem document with a stable code, the request's id, and no inner detail."""
    response = await frame.http.request(method, path)
    body = response.json()
    assert (response.status_code, body["status"], body["code"]) == (status, status, code)
    assert response.headers["content-type"] == "application/problem+json"
    assert body["correlation_id"] == response.headers["x-request-id"]
    assert not {"secret detail", "10.0.0.1"} & set(response.text.split('"'))
    assert (status not in {429, 503}) or int(response.headers["retry-after"]) >= 1


async def test_the_field_to_blame(frame: Frame) -> None:
    """A validation problem names each field, and never repeats the value."""
    response = await frame.http.post("/bodies", json={"count": "hunter2"})
    assert [error["field"] for error in response.json()["errors"]] == ["title", "count"]
    assert "hunter2" not in response.text
    response = await frame.http.get("/limited?limit=0")
    assert response.json()["errors"][0]["field"] == "limit"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"{", 400),
        (b"\xff\xfe", 400),
        (b"[]", 422),
        (b"null", 422),
        (b'"x"', 422),
        (b'{"title": "\\ud800"}', 422),
        (b'{"title": "x", "count": NaN}', 422),
        (b'{"title": "x", "count": 1e999}', 422),
        (b'{"title": "x", "count": ' + b"9" * 900 + b"}", 422),
        (b"[" * 900, 400),
        (b'{"title": "' + b"x" * 1000 + b'"}', 413),
    ],
)
async def test_hostile_body(frame: Frame, body: bytes, status: int) -> None:
    """No body makes a 500."""
    response = await frame.http.post("/bodies", content=body, headers={"content-type": "application/json"})
    assert response.status_code == status
    assert response.json()["status"] == status


async def test_a_body_of_unknown_length(frame: Frame) -> None:
    """A body that does not announce its length is stopped where it gets too long."""
    read = 0

    async def drip() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(100):
            read += 100
            yield b"x" * 100

    response = await frame.http.post("/bodies", content=drip(), headers={"content-type": "application/json"})
    assert response.status_code == 413
    assert read < 2000


async def test_a_body_that_does_not_come() -> None:
    """A body that takes too long is a 408, and its connection is given up."""

    async def reader(scope: Scope, receive: Receive, send: Send) -> None:
        while (await receive()).get("more_body"):
            pass

    async def drip() -> AsyncIterator[bytes]:
        yield b"x"
        await asyncio.Event().wait()

    transport = httpx.ASGITransport(BodyLimitMiddleware(reader, limit=1000, seconds=0.05))
    async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
        response = await client.post("/", content=drip())
    assert (response.status_code, response.headers["connection"]) == (408, "close")


@pytest.mark.parametrize("given", ["abc-1_2.3", "x" * 64])
async def test_a_sane_request_id_is_kept(frame: Frame, given: str) -> None:
    """A client's own id comes back and is the correlation id of the work."""
    response = await frame.http.get("/inside", headers={"x-request-id": given, "dapr-api-token": "app-token"})
    assert (response.headers["x-request-id"], response.json()) == (given, given)


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "a\tb", "<script>", "ä", "a,b"])
async def test_any_other_request_id_is_replaced(frame: Frame, given: str) -> None:
    """An id that could break a log line or a header is replaced by a fresh one."""
    response = await frame.http.get("/healthz", headers={b"x-request-id": given.encode()})
    assert response.headers["x-request-id"] != given
    assert len(response.headers["x-request-id"]) == 32


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("dapr-api-token", "")],
        [("dapr-api-token", "app-toke")],
        [("dapr-api-token", "APP-TOKEN")],
        [("dapr-api-token", "app-token"), ("dapr-api-token", "app-token")],
        [("dapr-api-token", "app-token, app-token")],
        [("authorization", "Bearer app-token")],
        [("dapr-api-token", b"\xff\xfe")],
    ],
)
async def test_the_sidecar_s_door(frame: Frame, headers: list[tuple[str, Any]]) -> None:
    """Only exactly the one right token opens it."""
    assert (await frame.http.get("/inside", headers=headers)).status_code == 401


def test_an_empty_token_opens_nothing() -> None:
    """A door without a token can't be built."""
    with pytest.raises(ValueError, match="empty"):
        require_header("x-service-token", "")


async def test_metrics_by_template(frame: Frame) -> None:
    """Requests are counted by route template, never by path or by a method somebody made up."""
    for number in range(3):
        await frame.http.get(f"/fail/{['problem', 'away', 'bug'][number]}")
        await frame.http.get(f"/nowhere/{number}")
    await frame.http.request("BREW", "/bodies")
    assert frame.total(method="GET", route="/fail/{kind}", status="409") == 1
    assert frame.total(method="GET", route="/fail/{kind}", status="500") == 1
    assert frame.total(method="GET", route="unmatched", status="404") == 3
    assert frame.total(method="other", route="/bodies", status="405") == 1
    text = (await frame.http.get("/metrics")).text
    assert 'http_request_duration_seconds_count{method="GET",route="/fail/{kind}",status="503"} 1.0' in text
    assert "nowhere" not in text


async def test_log_lines(frame: Frame, lines: io.StringIO) -> None:
    """Each request leaves one JSON line with its ids; a bug leaves its traceback too."""
    await frame.http.get("/fail/bug", headers={"x-request-id": "r1"})
    await frame.http.get("/healthz")
    found = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert [line["message"] for line in found] == ["unforeseen error", "request"]
    assert {line["correlation_id"] for line in found} == {"r1"}
    assert {line["service"] for line in found} == {"test"}
    assert "RuntimeError" in found[0]["exception"]
    assert (found[1]["user_id"], found[1]["route"], found[1]["status"]) == (7, "/fail/{kind}", 500)


def test_a_log_line_stays_one_line(lines: io.StringIO) -> None:
    """Line breaks, terminal escapes and odd objects in a log call make neither a second line nor an error."""
    logging.getLogger("x").info("a\nb\x1b[2J\u2028%s", "\ud800", extra={"where": object(), "n": 1})
    (line,) = lines.getvalue().splitlines()
    assert "\x1b" not in line
    assert json.loads(line)["n"] == 1


async def test_ids_of_parallel_requests_stay_apart(frame: Frame) -> None:
    """Requests at the same time each see their own id."""
    headers = {"dapr-api-token": "app-token"}
    names = [f"r{number}" for number in range(50)]
    answers = await asyncio.gather(
        *(frame.http.get("/inside", headers={**headers, "x-request-id": name}) for name in names)
    )
    assert [answer.json() for answer in answers] == names
