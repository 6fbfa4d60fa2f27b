"""The smoke chain against a platform in memory: real client code, a broker inside librdkafka, every link broken once."""

from __future__ import annotations

import json
import queue
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from confluent_kafka import Producer

from todoctl.adapters import sync
from todoctl.adapters.api import Addresses, Api, ApiError
from todoctl.adapters.kafka import client, records
from todoctl.adapters.mails import Mail
from todoctl.errors import UnhealthyError
from todoctl.operations import smoke

NOW = datetime(2026, 3, 1, 12, 0, 0, 123, tzinfo=UTC)
TOKEN = "t"


class Platform:
    """Auth, api, recurring and audit in memory; `broken` names the link that does not work."""

    def __init__(self, broken: str = "") -> None:
        self.broken = broken
        self.tasks: dict[int, dict[str, Any]] = {}
        self.rows: list[dict[str, Any]] = []
        self.requests: list[httpx.Request] = []
        # librdkafka has a broker of its own for tests; others reach it over TCP as any broker.
        self.producer = Producer({"test.mock.num.brokers": "1", "log_level": "0"})
        (address,) = self.producer.list_topics(timeout=5).brokers.values()
        self.broker = client.Broker({"bootstrap.servers": f"{address.host}:{address.port}", "log_level": "0"})
        self.mails: list[Mail] = []
        self.messages: queue.Queue[tuple[str, Any]] = queue.Queue()
        for noise in (b"", b"{", b"[]", b'{"type": "task.completed"}', b'{"type": 1, "data": null}', b"\xff"):
            self.publish(noise)

    def publish(self, value: bytes) -> None:
        """Append a record to task-events."""
        self.producer.produce("task-events", value, b"user-1")
        self.producer.flush(5)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        match request.method, request.url.path.split("/")[2:]:
            case "POST", ["tasks", number, "complete"]:
                return self.complete(int(number))
            case "DELETE", ["tasks", number]:
                del self.tasks[int(number)]
                return httpx.Response(204)
            case method, path:
                return httpx.Response(200, json=self.answer(method, path, request.content))

    def answer(self, method: str, path: list[str], content: bytes) -> dict[str, Any]:
        """The document that most requests get."""
        if (method, path) == ("POST", ["tasks"]):
            return self.create(**json.loads(content))
        rows = [{"resource_id": None, "action_type": "user.registered"}, *self.rows]
        documents: dict[str, dict[str, Any]] = {
            "register": {},
            "login": {"access_token": TOKEN},
            "tasks": {"items": list(self.tasks.values())},
            "logs": {"items": [] if self.broken == "audit rows" else rows},
        }
        return documents[path[-1]]

    def create(self, **fields: Any) -> dict[str, Any]:
        task = {"id": 41 + len(self.tasks), **fields}
        self.tasks[task["id"]] = task
        self.rows.append({"resource_id": str(task["id"]), "action_type": "task.created"})
        if "reminder_offset" in fields and self.broken != "reminder mail":
            self.mails += [_mail(task["id"], "somebody@example.com"), _mail(task["id"], self.email)]
        return task

    def complete(self, number: int) -> httpx.Response:
        if self.broken == "request":
            return httpx.Response(503, json={"detail": "the database is away"})
        self.rows.append({"resource_id": str(number), "action_type": "task.completed"})
        if self.broken != "socket":
            for task, status in ((7, "completed"), (number, "open"), (number, "completed")):
                self.messages.put(("task.sync", {"task": {"id": task, "status": status}, "user_seq": 2}))
        if self.broken != "event on the topic":
            for task in (7, number):
                event = {"id": str(uuid4()), "type": "task.completed", "data": {"task_id": task}}
                self.publish(json.dumps(event).encode())
        if self.broken != "next occurrence":
            self.create(due_date="2026-03-03T12:00:00+00:00", parent_task_id=number)
        return httpx.Response(200, json=self.tasks[number])

    def play(self, seconds: float = 10) -> Iterator[smoke.Link]:
        """The chain against this platform."""
        addresses = Addresses("http://auth", "http://api", "http://audit", "http://sync")
        with Api(addresses, transport=httpx.MockTransport(self)) as api:
            edges = smoke.Edges(
                api=api,
                broker=self.broker,
                open_socket=self.open_socket,
                kept_mails=lambda: self.mails,
                clock=lambda: NOW,
            )
            yield from smoke.play(edges, deadline_seconds=seconds)

    @property
    def email(self) -> str:
        """The address that the smoke test registered with."""
        request = next(item for item in self.requests if item.url.path.endswith("/register"))
        return str(json.loads(request.content)["email"])

    @contextmanager
    def open_socket(self, token: str) -> Iterator[sync.Socket]:
        """A socket for who has logged in."""
        assert token == TOKEN
        yield sync.Socket(self.messages)


def _mail(task_id: int, to: str) -> Mail:
    at = NOW + timedelta(seconds=2.25)
    return Mail(1, at, to, "todo@example.com", "Reminder", "<m@todo>", task_id, "", "", Path("m.eml"))


def collect(links: Iterator[smoke.Link]) -> tuple[list[str], UnhealthyError]:
    """The links until the chain broke, and how it did."""
    names: list[str] = []
    with pytest.raises(UnhealthyError) as caught:
        names.extend(link.name for link in links)
    return names, caught.value


def test_a_whole_chain() -> None:
    """All links in order, each with its evidence; records that are no events are passed over."""
    platform = Platform()
    links = list(platform.play())
    assert [link.name for link in links] == [
        "account",
        "task created",
        "socket open",
        "request",
        "event on the topic",
        "socket",
        "next occurrence",
        "audit rows",
        "reminder mail",
    ]
    seen = {link.name: link.seen for link in links}
    assert seen["task created"] == "task 41, daily, due 2026-03-02T12:00:00+00:00"
    assert seen["event on the topic"].startswith("task.completed ")
    assert seen["event on the topic"].endswith("key user-1")
    assert seen["next occurrence"] == "task 43, due 2026-03-03T12:00:00+00:00"
    assert seen["socket"] == "task.sync of task 41, user_seq 2"
    assert seen["reminder mail"] == "<m@todo>, kept 0.25 s after it was due"
    times = [link.seconds for link in links[3:-1]]
    assert times == sorted(times)


def test_requests_carry_one_correlation_id() -> None:
    """The id that the timeline shows is the one that the requests carried, so `logs --correlation` finds them."""
    platform = Platform()
    request = next(link for link in platform.play() if link.name == "request")
    sent = {item.headers["X-Request-ID"] for item in platform.requests if "X-Request-ID" in item.headers}
    assert sent == {request.seen.rpartition(" ")[2]}


def test_nothing_is_left_behind() -> None:
    """The tasks that the smoke test made are deleted."""
    platform = Platform()
    list(platform.play())
    assert platform.tasks == {}


LINKS = [
    *("account", "task created", "socket open", "request", "event on the topic", "socket"),
    *("next occurrence", "audit rows", "reminder mail"),
]


@pytest.mark.parametrize("broken", LINKS[4:])
def test_a_broken_link_is_named(broken: str) -> None:
    """Up to the broken link everything is shown; the error names it and has exit code 3."""
    # The links before it need time on a busy machine; the first of them none.
    names, error = collect(Platform(broken).play(seconds=0.3 if broken == "event on the topic" else 2))
    assert names == LINKS[: LINKS.index(broken)]
    assert error.message.startswith(f"the chain breaks at: {broken}")
    assert (error.exit_code, error.hint.partition(";")[0]) == (3, "todoctl doctor")
    assert "todoctl trace correlation:smoke-" in error.hint


def test_a_refused_request_is_the_apis_own_error() -> None:
    """A request that fails says what the API answered."""
    with pytest.raises(ApiError, match="answered 503: the database is away"):
        list(Platform("request").play())


def test_what_the_client_refuses_is_an_error_of_ours() -> None:
    """An error of librdkafka becomes one line that says what was tried."""
    with pytest.raises(
        client.KafkaError, match='could not use the settings for Kafka: No such configuration property: "no"'
    ):
        records.end_offsets(client.Broker({"bootstrap.servers": "127.0.0.1:1", "no": "such"}), "task-events")


def test_a_record_there_and_back() -> None:
    """A produced record is read from where it was put, with its key; the end moves by one."""
    platform = Platform()
    before = records.end_offsets(platform.broker, "task-events")
    partition, offset = records.produce(platform.broker, "task-events", key=b"k", value=b"v", headers={"h": b"1"})
    assert offset == before[partition]
    assert records.end_offsets(platform.broker, "task-events")[partition] == offset + 1
    deadline = time.monotonic() + 10
    found = records.read_from(platform.broker, "task-events", {partition: offset}, deadline=deadline)
    assert next(found)[:2] == (b"k", b"v")
