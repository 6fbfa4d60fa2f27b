"""The recurring service over HTTP: deliveries in front, a sidecar with an api that keeps its rules behind."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from services.common.settings import ServiceSettings
from services.common.sidecar import Sidecar
from services.recurring.app import create_app
from tests.unit.services.fake_broker import FakeClock
from tests.unit.services.fake_sidecar import FakeSidecar
from tests.unit.services.records import (
    BAD_BYTES,
    bad_records,
    generated_records,
    origin_headers,
    record,
    series,
    single_body,
    task,
)
from todoctl.core.dead_letters import DeadLetter
from todoctl.core.events import TaskChange

TOPIC = "task-events"
GUARD = {"dapr-api-token": "app-token"}
SETTINGS = ServiceSettings(
    service_name="recurring",
    port=8002,
    dapr_http_port=1,
    dapr_api_token="dapr-token",
    app_api_token="app-token",
    service_token="service-token",
)


@dataclass
class FakeApi:
    """Creates one successor per task, as api does; `answer` replaces what it says."""

    successors: dict[int, dict[str, Any]] = field(default_factory=dict)
    answer: Response | None = None

    async def occurrences(self, request: Request) -> Response:
        """POST /internal/occurrences."""
        if request.headers.get("x-service-token") != "service-token":
            return JSONResponse({"code": "unauthorized"}, 401)
        if self.answer is not None:
            return self.answer
        order = await request.json()
        is_new = order["predecessor_task_id"] not in self.successors
        kept = self.successors.setdefault(order["predecessor_task_id"], order)
        return JSONResponse(kept, 201 if is_new else 200)


@dataclass
class Recurring:
    """The running application and what lies around it."""

    http: httpx.AsyncClient
    sidecar: FakeSidecar
    api: FakeApi
    clock: FakeClock

    async def deliver(self, value: bytes, **place: Any) -> str:
        """Deliver one record as daprd does; its status."""
        headers = origin_headers(TOPIC, **{"offset": 1} | place) | GUARD
        answer = await self.http.post("/events/task-events", content=single_body(value, TOPIC), headers=headers)
        assert answer.status_code == 200
        return str(answer.json()["status"])

    @property
    def letters(self) -> list[DeadLetter]:
        """The dead letters that the service sent."""
        return [DeadLetter.model_validate(sent.envelope["data"]) for sent in self.sidecar.records]


@pytest.fixture
async def recurring() -> AsyncIterator[Recurring]:
    """The service with its own fakes."""
    api, clock = FakeApi(), FakeClock()
    app = Starlette(routes=[Route("/internal/occurrences", api.occurrences, methods=["POST"])])
    fake = FakeSidecar(topics={"dlq-events"}, apps={"api": app})
    sidecar = Sidecar(http_port=1, api_token=fake.token, transport=fake.transport)
    service = create_app(settings=SETTINGS, sidecar=sidecar, clock=clock, registry=CollectorRegistry())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(service), base_url="http://recurring") as http:
        yield Recurring(http, fake, api, clock)


async def test_a_completion_gives_one_successor_however_often_it_is_delivered(recurring: Recurring) -> None:
    """Redelivery and replay are answered SUCCESS and change nothing."""
    value = record(TOPIC)
    for offset in (1, 1, 2, 900):
        assert await recurring.deliver(value, offset=offset) == "SUCCESS"
    assert list(recurring.api.successors) == [41]
    assert recurring.api.successors[41]["due_local"] == "2030-02-28T10:00:00"
    assert recurring.letters == []


async def test_the_series_gets_its_hint(recurring: Recurring) -> None:
    """Dapr's state says when the series last went on."""
    await recurring.deliver(record(TOPIC))
    assert json.loads(recurring.sidecar.state["series-5"]) == {
        "last_generated_at": "2030-01-31T12:00:00+00:00",
        "index": 2,
    }


async def test_without_the_state_store_the_successor_is_created_all_the_same(recurring: Recurring) -> None:
    """The hint is only a hint."""

    async def forgetful(request: httpx.Request) -> httpx.Response:
        if "/state/" in request.url.path:
            raise httpx.ReadTimeout("the state store does not answer", request=request)
        return await recurring.sidecar.transport.handle_async_request(request)

    sidecar = Sidecar(http_port=1, api_token=recurring.sidecar.token, transport=httpx.MockTransport(forgetful))
    app = create_app(settings=SETTINGS, sidecar=sidecar, clock=recurring.clock, registry=CollectorRegistry())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://recurring") as http:
        answer = await http.post("/events/task-events", content=single_body(record(TOPIC), TOPIC), headers=GUARD)
    assert answer.json() == {"status": "SUCCESS"}
    assert list(recurring.api.successors) == [41]


@pytest.mark.parametrize("kind", ["task.created", "task.updated", "task.reopened", "task.deleted"])
async def test_other_events_are_none_of_its_business(recurring: Recurring, kind: str) -> None:
    """Answered SUCCESS without a call."""
    assert await recurring.deliver(record(TOPIC, event_type=kind)) == "SUCCESS"
    assert recurring.sidecar.calls == []


async def test_while_api_is_away_the_completion_waits(recurring: Recurring) -> None:
    """However long; then it is served."""
    value, apps = record(TOPIC), recurring.sidecar.apps
    recurring.sidecar.apps = {}
    for _ in range(100):
        assert await recurring.deliver(value) == "RETRY"
        recurring.clock.move(seconds=1)
    recurring.sidecar.apps, recurring.sidecar.away = apps, True
    assert await recurring.deliver(value) == "RETRY"
    recurring.sidecar.away = False
    assert await recurring.deliver(value) == "SUCCESS"
    assert recurring.letters == []


@pytest.mark.parametrize("status", [401, 403, 408, 429, 500, 502, 503])
async def test_an_api_in_trouble_is_waited_for(recurring: Recurring, status: int) -> None:
    """Neither its crashes nor a wrong token of ours are the event's fault."""
    recurring.api.answer = JSONResponse({"title": "no"}, status)
    for _ in range(10):
        assert await recurring.deliver(record(TOPIC)) == "RETRY"
    assert recurring.letters == []


@pytest.mark.parametrize("status", [400, 404, 409, 422])
async def test_an_order_that_api_refuses_becomes_a_dead_letter(recurring: Recurring, status: int) -> None:
    """At once, with api's words."""
    recurring.api.answer = JSONResponse({"title": "there is no such task"}, status)
    assert await recurring.deliver(record(TOPIC)) == "SUCCESS"
    [letter] = recurring.letters
    assert (letter.kind, letter.error_class, letter.attempts) == ("permanent", "RefusedByRuleError", 1)
    assert str(status) in letter.message
    assert "there is no such task" in letter.message
    assert (letter.user_id, letter.correlation_id) == (7, "request-1")


async def test_a_series_that_cannot_be_computed_becomes_a_dead_letter(recurring: Recurring) -> None:
    """A rule or zone that makes no sense is permanent."""
    change = TaskChange(task=task(series=series(zone="Mars/Olympus")))
    assert await recurring.deliver(record(TOPIC, payload=change)) == "SUCCESS"
    [letter] = recurring.letters
    assert "Mars/Olympus" in letter.message


async def test_each_bad_record_gives_exactly_one_letter(recurring: Recurring) -> None:
    """Delivered twice each: 200, SUCCESS, one letter."""
    for offset, (name, value) in enumerate(bad_records(TOPIC).items()):
        recurring.sidecar.records.clear()
        for _ in range(2):
            assert await recurring.deliver(value, offset=offset) == "SUCCESS", name
        assert len(recurring.letters) == 1, name
    assert recurring.api.successors == {}


@pytest.mark.parametrize("name", BAD_BYTES)
async def test_a_body_that_daprd_never_sends_gives_one_letter(recurring: Recurring, name: str) -> None:
    """Whatever the body: 200, SUCCESS, one letter."""
    answer = await recurring.http.post("/events/task-events", content=BAD_BYTES[name], headers=GUARD)
    assert (answer.status_code, answer.json()) == (200, {"status": "SUCCESS"})
    assert len(recurring.letters) == 1


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=generated_records())
async def test_any_bytes_give_exactly_one_letter(recurring: Recurring, value: bytes) -> None:
    """Generated records too."""
    recurring.sidecar.records.clear()
    answer = await recurring.http.post("/events/task-events", content=single_body(value, TOPIC), headers=GUARD)
    assert answer.json() == {"status": "SUCCESS"}
    assert len(recurring.letters) == 1


@pytest.mark.parametrize("given", [{}, {"dapr-api-token": "wrong"}])
async def test_only_the_sidecar_delivers(recurring: Recurring, given: dict[str, str]) -> None:
    """Without the app token nothing happens."""
    answer = await recurring.http.post("/events/task-events", content=record(TOPIC), headers=given)
    assert answer.status_code == 401
    assert recurring.sidecar.calls == []


async def test_health(recurring: Recurring) -> None:
    """Ready with the sidecar, not without it; metrics count what became of records."""
    assert (await recurring.http.get("/readyz")).status_code == 200
    await recurring.deliver(record(TOPIC))
    text = (await recurring.http.get("/metrics")).text
    assert 'events_processed_total{outcome="processed",topic="task-events"} 1.0' in text
    recurring.sidecar.away = True
    assert (await recurring.http.get("/readyz")).status_code == 503
    assert (await recurring.http.get("/healthz")).json() == {"status": "ok"}
    assert (await recurring.http.get("/events/task-events")).status_code == 405
