"""The sidecar client against a sidecar that answers as Dapr does."""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import datetime, timedelta, timezone

import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import JSONResponse

from services.common.sidecar import BulkEntry, Refused, Sidecar, StateWrite, Unavailable, is_refusal
from tests.unit.services.fake_sidecar import FakeSidecar, Record


@pytest.fixture
def fake() -> FakeSidecar:
    """A sidecar with one topic."""
    return FakeSidecar(topics={"task-events"})


@pytest.fixture
def sidecar(fake: FakeSidecar) -> Sidecar:
    """The client of it."""
    return Sidecar(http_port=1, api_token=fake.token, transport=fake.transport)


async def test_publish(fake: FakeSidecar, sidecar: Sidecar) -> None:
    """An envelope lands on its topic as it is, under its key."""
    await sidecar.publish("task-events", {"id": "1", "data": {"title": "ä\ud800"}}, key="7")
    assert fake.records == [Record("task-events", "7", {"id": "1", "data": {"title": "ä\ud800"}})]


async def test_publish_bulk_tells_each_failure(fake: FakeSidecar, sidecar: Sidecar) -> None:
    """Of a batch with one record too large only that one fails, with words that say no repetition helps."""
    entries = [BulkEntry("a", {"id": "a"}, "7"), BulkEntry("b", {"id": "x" * 3_000_000}, "7"), BulkEntry("c", {}, None)]
    failed = await sidecar.publish_bulk("task-events", entries)
    assert list(failed) == ["b"]
    assert is_refusal(failed["b"])
    assert [record.key for record in fake.records] == ["7", None]


async def test_nothing_to_publish(fake: FakeSidecar, sidecar: Sidecar) -> None:
    """An empty batch asks nobody."""
    assert await sidecar.publish_bulk("task-events", []) == {}
    assert fake.calls == []


async def test_the_broker_is_away(fake: FakeSidecar, sidecar: Sidecar) -> None:
    """A broker that can't be reached is worth another try, for each entry too."""
    fake.broker_away = True
    with pytest.raises(Unavailable):
        await sidecar.publish("task-events", {}, key=None)
    failed = await sidecar.publish_bulk("task-events", [BulkEntry("a", {})])
    assert not is_refusal(failed["a"])


async def test_the_sidecar_is_away(fake: FakeSidecar, sidecar: Sidecar) -> None:
    """Each call to a sidecar that can't be reached is Unavailable, and it is not ready."""
    fake.away = True
    for call in (
        sidecar.publish("task-events", {}, key=None),
        sidecar.publish_bulk("task-events", [BulkEntry("a", {})]),
        sidecar.invoke("auth", "GET", "/"),
        sidecar.get_state("k"),
        sidecar.save_state("k", 1),
        sidecar.secret("s"),
        sidecar.subscriptions(),
    ):
        with pytest.raises(Unavailable):
            await call
    assert not await sidecar.is_ready()


async def test_a_sidecar_that_is_still_loading(fake: FakeSidecar, sidecar: Sidecar) -> None:
    """A pub/sub component that isn't there yet never makes an event be given up."""
    fake.loaded = False
    with pytest.raises(Unavailable):
        await sidecar.publish("task-events", {}, key=None)
    with pytest.raises(Unavailable):
        await sidecar.publish_bulk("task-events", [BulkEntry("a", {})])


async def test_a_topic_out_of_scope(sidecar: Sidecar) -> None:
    """A topic that this service may not publish to is refused for good."""
    with pytest.raises(Refused, match="403"):
        await sidecar.publish("reminders", {}, key=None)
    with pytest.raises(Refused, match="403"):
        await sidecar.publish_bulk("reminders", [BulkEntry("a", {})])


async def test_a_record_too_large(sidecar: Sidecar) -> None:
    """A record over the broker's limit is refused for good."""
    with pytest.raises(Refused, match="too large"):
        await sidecar.publish("task-events", {"data": "x" * 3_000_000}, key=None)


async def test_a_wrong_api_token(fake: FakeSidecar) -> None:
    """A token that the sidecar does not take is a fault of the set-up, so nothing is given up for it."""
    sidecar = Sidecar(http_port=1, api_token="other", transport=fake.transport)
    for call in (sidecar.publish("task-events", {}, key=None), sidecar.invoke("auth", "GET", "/")):
        with pytest.raises(Unavailable, match="invalid api token"):
            await call


async def test_not_a_number_is_no_json(sidecar: Sidecar) -> None:
    """What JSON has no word for is a bug here, not something to send."""
    with pytest.raises(ValueError, match="JSON"):
        await sidecar.publish("task-events", {"data": float("nan")}, key=None)


async def test_invoke_gives_the_other_service_s_own_answer() -> None:
    """Errors of the called service are answers, with their status and body."""
    app = FastAPI()

    @app.post("/things/{name}")
    async def things(name: str, body: dict[str, int]) -> JSONResponse:
        return JSONResponse({"name": name, **body}, 418)

    fake = FakeSidecar(apps={"other": app})
    sidecar = Sidecar(http_port=1, api_token=fake.token, transport=fake.transport)
    response = await sidecar.invoke("other", "POST", "/things/x", json={"n": 1}, headers={"x-service-token": "t"})
    assert (response.status_code, response.json()) == (418, {"name": "x", "n": 1})
    assert fake.calls[0].headers["x-service-token"] == "t"


async def test_invoke_a_service_that_is_not_there(sidecar: Sidecar) -> None:
    """A service that the sidecar can't find is away, not wrong."""
    with pytest.raises(Unavailable, match="couldn't find service"):
        await sidecar.invoke("auth", "GET", "/")


async def test_state(sidecar: Sidecar) -> None:
    """What is saved is read back; what never was is None."""
    assert await sidecar.get_state("series||7/x") is None
    await sidecar.save_state("k", {"at": "2026-01-01"})
    assert await sidecar.get_state("k") == b'{"at": "2026-01-01"}'


async def test_secret(fake: FakeSidecar, sidecar: Sidecar) -> None:
    """A secret's fields come by name."""
    fake.secrets["smtp"] = {"password": "p"}
    assert await sidecar.secret("smtp") == {"password": "p"}
    with pytest.raises(Unavailable):
        await sidecar.secret("none")


async def test_ready_and_subscribed(sidecar: Sidecar) -> None:
    """A loaded sidecar is ready and tells its subscriptions."""
    assert await sidecar.is_ready()
    assert await sidecar.subscriptions() == [{"topic": "task-events"}]


async def test_a_proxy_of_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls to the own sidecar never go through HTTP_PROXY."""
    asked: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append((await reader.readuntil(b"\r\n\r\n")).decode().splitlines()[0])
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    async with server, Sidecar(http_port=server.sockets[0].getsockname()[1], api_token="t").opened() as real:
        assert await real.is_ready()
    assert asked == ["GET /v1.0/healthz/outbound HTTP/1.1"]


async def test_a_call_searches_for_no_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """A call of httpx tries imports; one that is not there is searched for in all folders, each time."""
    searched: list[str] = []

    class Watcher:
        def find_spec(self, name: str, *_: object) -> None:
            searched.append(name)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server, Sidecar(http_port=server.sockets[0].getsockname()[1], api_token="t").opened() as real:
        assert await real.is_ready()
        monkeypatch.setattr("sys.meta_path", [Watcher(), *sys.meta_path])
        assert await real.is_ready()
    assert searched == []


async def test_an_answer_that_is_no_json() -> None:
    """A gateway's page instead of Dapr's JSON is still told apart by its status."""
    sidecar = Sidecar(
        http_port=1, api_token="t", transport=httpx.MockTransport(lambda _: httpx.Response(502, text="<"))
    )
    with pytest.raises(Unavailable, match="502"):
        await sidecar.publish_bulk("task-events", [BulkEntry("a", {})])


async def test_a_state_is_written_only_where_it_is_as_it_was_seen(fake: FakeSidecar, sidecar: Sidecar) -> None:
    """Inserted where there is none, replaced at its ETag; otherwise it stays, and the caller hears of it."""
    assert await sidecar.versioned_states(["a"]) == {}
    assert await sidecar.write_states([StateWrite("a", {"n": 1})]) is True
    assert await sidecar.write_states([StateWrite("a", {"n": 2})]) is False
    etag = (await sidecar.versioned_states(["a", "b"]))["a"][1]
    assert await sidecar.write_states([StateWrite("a", {"n": 3}, etag)]) is True
    assert await sidecar.write_states([StateWrite("a", {"n": 4}, etag)]) is False
    assert (await sidecar.versioned_states(["a"]))["a"][0] == {"n": 3}
    assert await sidecar.write_states([StateWrite("a", {"n": 5}, last=True)]) is True
    fake.state_away = True
    with pytest.raises(Unavailable):
        await sidecar.write_states([StateWrite("a", {})])
    with pytest.raises(Unavailable):
        await sidecar.versioned_states(["a"])


async def test_of_many_writes_all_are_stored_or_none(fake: FakeSidecar, sidecar: Sidecar) -> None:
    """One that comes too late keeps the others back."""
    await sidecar.write_states([StateWrite("b", 1)])
    assert await sidecar.write_states([StateWrite("a", 2), StateWrite("b", 2), StateWrite("c", 2, last=True)]) is False
    assert fake.state == {"b": b"1"}


async def test_a_job_has_data_and_replaces_its_namesake() -> None:
    """Without data 1.16 never delivers it."""
    seen: list[httpx.Request] = []

    async def take(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(204)

    sidecar = Sidecar(http_port=1, api_token="t", transport=httpx.MockTransport(take))
    due = datetime(2030, 1, 31, 10, tzinfo=timezone(timedelta(hours=1)))
    await sidecar.schedule_job("reminders-1", due=due, data={"due": 1})
    assert (seen[0].method, seen[0].url.path) == ("POST", "/v1.0-alpha1/jobs/reminders-1")
    assert json.loads(seen[0].content) == {"dueTime": "2030-01-31T09:00:00Z", "data": {"due": 1}, "overwrite": True}
