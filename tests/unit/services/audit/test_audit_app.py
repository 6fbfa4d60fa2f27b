"""The audit service over HTTP: subscriptions in front, a real PostgreSQL and a sidecar with state behind."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from prometheus_client import CollectorRegistry

from services.audit.app import create_app
from services.common.database import Database
from services.common.delivery import Delivery
from services.common.letters import letter_about
from services.common.settings import ServiceSettings
from services.common.sidecar import Sidecar
from services.common.verdicts import PermanentError
from tests.unit.services.access_tokens import auth_app, token
from tests.unit.services.audit.audit_tables import rows, verify
from tests.unit.services.fake_broker import FakeClock
from tests.unit.services.fake_sidecar import FakeSidecar
from tests.unit.services.postgres_server import TodoDatabase
from tests.unit.services.records import (
    BAD_BYTES,
    EVENT_TOPICS,
    MOMENT,
    bad_records,
    bulk_body,
    envelope,
    generated_records,
    record,
)
from todoctl.core.dead_letters import DeadLetter, Origin, to_cloud_event

SETTINGS = ServiceSettings(
    service_name="audit", port=8004, dapr_http_port=1, dapr_api_token="dapr-token", app_api_token="app-token"
)
GUARD = {"dapr-api-token": "app-token"}


@dataclass
class Audit:
    """The running application and what lies around it."""

    http: httpx.AsyncClient
    sidecar: FakeSidecar
    todo: TodoDatabase
    clock: FakeClock

    async def deliver(self, topic: str, values: list[bytes], **place: Any) -> list[str]:
        """Deliver records as daprd does; their statuses."""
        answer = await self.http.post(f"/events/{topic}", content=bulk_body(values, topic, **place), headers=GUARD)
        assert answer.status_code == 200
        return [status["status"] for status in answer.json()["statuses"]]

    async def ask(self, caller: int, /, role: str = "user", **filters: Any) -> httpx.Response:
        """Query the log as a user."""
        bearer = {"authorization": f"Bearer {token(caller, now=self.clock(), role=role)}"}
        return await self.http.get("/api/audit/logs", params=filters, headers=bearer)

    @property
    def letters(self) -> list[DeadLetter]:
        """The dead letters that the service sent."""
        return [DeadLetter.model_validate(sent.envelope["data"]) for sent in self.sidecar.records]


@pytest.fixture
async def audit(todo: TodoDatabase, database: Database) -> AsyncIterator[Audit]:
    """The service on a database of its own."""
    fake, clock = FakeSidecar(topics={"dlq-events"}, apps={"auth": auth_app()}), FakeClock()
    sidecar = Sidecar(http_port=1, api_token=fake.token, transport=fake.transport)
    app = create_app(settings=SETTINGS, database=database, sidecar=sidecar, clock=clock, registry=CollectorRegistry())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://audit") as http:
        yield Audit(http, fake, todo, clock)


# Deliveries


async def test_a_bulk_delivery_is_stored_and_chained(audit: Audit) -> None:
    """200 records of one partition: one batch, one chain, no letter."""
    values = [record("task-events", user_seq=n) for n in range(1, 201)]
    assert await audit.deliver("task-events", values, partition=3) == ["SUCCESS"] * 200
    assert await audit.deliver("task-events", values, partition=3) == ["SUCCESS"] * 200
    assert len(rows(audit.todo, partition=3)) == 200
    assert verify(audit.todo, partition=3) is None
    assert audit.sidecar.records == []


@pytest.mark.parametrize("topic", EVENT_TOPICS)
async def test_bad_records_among_good_ones(audit: Audit, topic: str) -> None:
    """Every bad record gives one letter and no row, every good one a row; however often they come."""
    bad = list(bad_records(topic).values())
    values = [value for pair in zip(bad, (record(topic) for _ in bad), strict=True) for value in pair]
    for _ in range(2):
        for start in range(0, len(values), 200):
            batch = values[start : start + 200]
            assert await audit.deliver(topic, batch, first_offset=start) == ["SUCCESS"] * len(batch)
    assert sorted(letter.origin.offset or 0 for letter in audit.letters) == list(range(0, len(values), 2))
    assert len(rows(audit.todo, topic)) == len(bad)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=generated_records())
async def test_any_bytes_on_the_dead_letter_topic_are_stored(audit: Audit, value: bytes) -> None:
    """Whatever lies there, it is stored as it is and nothing is sent."""
    offset = len(rows(audit.todo, "dlq-events"))
    assert await audit.deliver("dlq-events", [value], first_offset=offset) == ["SUCCESS"]
    assert rows(audit.todo, "dlq-events")[offset]["raw"] == value
    assert audit.sidecar.records == []


@pytest.mark.parametrize("topic", [*EVENT_TOPICS, "dlq-events"])
async def test_bodies_that_daprd_never_sends(audit: Audit, topic: str) -> None:
    """200 for each: a letter from the topics of events, a row from the dead letters."""
    for body in BAD_BYTES.values():
        answer = await audit.http.post(f"/events/{topic}", content=body, headers=GUARD)
        assert (answer.status_code, answer.json()) == (200, {"statuses": []})
    is_dead = topic == "dlq-events"
    assert len(audit.letters) == (0 if is_dead else len(BAD_BYTES))
    assert len(rows(audit.todo, topic, -1)) == (len(BAD_BYTES) if is_dead else 0)


async def test_a_batch_of_megabytes_is_taken(audit: Audit) -> None:
    """The limit on bodies is for clients, not for the sidecar."""
    big = json.loads(record("task-events"))
    big["data"]["payload"]["task"]["description"] = "x" * 900_000
    values = []
    for number in range(20):
        big["data"]["event_id"] = big["id"] = f"00000000-0000-4000-8000-{number:012}"
        values.append(json.dumps(big).encode())
    assert await audit.deliver("task-events", values) == ["SUCCESS"] * 20


async def test_a_dead_letter_is_a_row_that_says_what_it_is_about(audit: Audit) -> None:
    """Stored once by its own id, with its user and correlation."""
    bad = envelope("task-events")
    bad["data"]["version"] = "newest"
    delivery = Delivery(json.dumps(bad).encode(), Origin(topic="task-events", partition=1, offset=2))
    letter = letter_about(delivery, PermanentError("no"), consumer="recurring", attempts=1, failed_at=MOMENT)
    lying = json.dumps(to_cloud_event(letter)).encode()
    assert await audit.deliver("dlq-events", [lying, lying]) == ["SUCCESS"] * 2
    assert await audit.deliver("dlq-events", [lying], first_offset=9) == ["SUCCESS"]
    [row] = rows(audit.todo, "dlq-events")
    assert (row["event_id"], row["action_type"]) == (letter.letter_id, "dead-letter")
    assert (row["user_id"], row["correlation_id"], row["timestamp"]) == (7, "request-1", MOMENT)
    assert json.loads(row["details"])["consumer"] == "recurring"


async def test_while_the_broker_is_away_bad_records_wait(audit: Audit) -> None:
    """Without its letter a record stays on the topic; good ones are stored meanwhile."""
    audit.sidecar.broker_away = True
    values = [b"x", record("task-events")]
    assert await audit.deliver("task-events", values) == ["RETRY", "SUCCESS"]
    audit.sidecar.broker_away = False
    assert await audit.deliver("task-events", values) == ["SUCCESS"] * 2
    assert len(audit.letters) == 1
    assert len(rows(audit.todo)) == 1


@pytest.mark.parametrize(
    "damage",
    [
        "ALTER TABLE audit.audit_logs RENAME TO gone",
        "REVOKE INSERT ON audit.audit_logs FROM audit",
        "ALTER ROLE audit IN DATABASE {database} SET default_transaction_read_only = on",
    ],
)
async def test_a_database_that_takes_nothing_is_not_the_records_fault(audit: Audit, damage: str) -> None:
    """A missing table, a revoked right, a read-only server: everything waits, nothing becomes a letter."""
    with psycopg.connect(audit.todo.admin_url, autocommit=True) as link:
        link.execute(damage.format(database=audit.todo.name))
    for _ in range(30):
        values = [record("task-events"), b"x"]
        assert await audit.deliver("task-events", values) == ["RETRY"] * 2
        audit.clock.move(seconds=10)
    assert audit.letters == []
    ready = await audit.http.get("/readyz")
    assert "consumer" not in ready.json().get("missing", {})


@pytest.mark.parametrize("given", [{}, {"dapr-api-token": "wrong"}, {"dapr-api-token": ""}])
async def test_only_the_sidecar_delivers(audit: Audit, given: dict[str, str]) -> None:
    """Without the app token nothing is stored."""
    for topic in (*EVENT_TOPICS, "dlq-events"):
        answer = await audit.http.post(f"/events/{topic}", content=bulk_body([b"x"], topic), headers=given)
        assert answer.status_code == 401
    assert rows(audit.todo, "dlq-events") == []
    assert audit.letters == []


# Queries


@pytest.fixture
async def filled(audit: Audit) -> Audit:
    """Events of two users on two topics, delivered out of order, and two dead letters."""
    for user, task in ((7, 41), (8, 51)):
        events = [
            record(
                "task-events",
                user_id=user,
                task_id=task,
                user_seq=seq,
                event_type="task.created" if seq == 1 else "task.updated",
                correlation_id=f"request-{user}-{seq}",
                occurred_at=MOMENT + timedelta(minutes=seq),
            )
            for seq in (3, 1, 2)
        ]
        await audit.deliver("task-events", events, partition=user % 6)
        await audit.deliver(
            "reminders", [record("reminders", user_id=user, task_id=task, user_seq=4, correlation_id="sweep")]
        )
    bad = json.dumps({"data": {"user_id": 7, "correlation_id": "request-7-1"}}).encode()
    await audit.deliver("dlq-events", [bad, b"x"])
    return audit


async def test_users_see_their_own_events_in_their_order(filled: Audit) -> None:
    """By user_seq, whatever order and topic they came in; never another user's, never a dead letter's bytes."""
    answer = (await filled.ask(7)).json()
    assert [(item["user_id"], item["user_seq"]) for item in answer["items"]] == [(7, 1), (7, 2), (7, 3), (7, 4)]
    assert (answer["total"], answer["offset"], answer["limit"]) == (4, 0, 50)
    first = answer["items"][0]
    assert (first["action_type"], first["resource_type"], first["resource_id"]) == ("task.created", "task", 41)
    assert first["timestamp"] == "2030-01-31T09:01:00Z"
    assert first["details"]["payload"]["task"]["title"] == "Milk"
    assert (await filled.ask(9)).json()["total"] == 0


async def test_another_users_events_are_refused(filled: Audit) -> None:
    """Asking for somebody else is a 403, for oneself an answer."""
    answer = await filled.ask(7, user_id=8)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert (await filled.ask(7, user_id=7)).json()["total"] == 4


async def test_operators_see_everything(filled: Audit) -> None:
    """All users and the dead letters; one user's events in their order."""
    assert (await filled.ask(1, role="operator")).json()["total"] == 10
    one = (await filled.ask(1, role="operator", user_id=8, resource_type="task")).json()
    assert [item["user_seq"] for item in one["items"]] == [1, 2, 3]
    dead = (await filled.ask(1, role="operator", resource_type="dead-letter")).json()["items"]
    assert {item["raw"] for item in dead} >= {"eA=="}


_FILTERS: list[tuple[dict[str, Any], int]] = [
    ({"action_type": "task.updated"}, 2),
    ({"action_type": "task"}, 0),
    ({"resource_type": "reminder", "resource_id": 9}, 1),
    ({"resource_type": "task", "resource_id": 41}, 3),
    ({"correlation_id": "request-7-2"}, 1),
    ({"correlation_id": "request-8-2"}, 0),
    ({"from": "2030-01-31T09:02:00Z"}, 2),
    ({"to": "2030-01-31T09:02:00Z"}, 2),
    ({"from": "2030-01-31T10:01:00+01:00", "to": "2030-01-31T10:02:00+01:00"}, 1),
    ({"from": "2031-01-01T00:00:00Z"}, 0),
    ({"event_id": "00000000-0000-4000-8000-000000000000"}, 0),
    ({"limit": 1}, 4),
    ({"offset": 100}, 4),
]


async def test_filters_and_totals(filled: Audit) -> None:
    """All filters must hold; the total counts every match, not the page."""
    for filters, total in _FILTERS:
        answer = await filled.ask(7, **filters)
        assert (answer.status_code, answer.json()["total"]) == (200, total), filters


async def test_pages_cover_everything_once(filled: Audit) -> None:
    """Pages of one and of three, put together, are the whole."""
    whole = [item["log_id"] for item in (await filled.ask(1, role="operator", limit=500)).json()["items"]]
    for limit in (1, 3):
        pages = [(await filled.ask(1, role="operator", limit=limit, offset=o)).json() for o in range(0, 12, limit)]
        assert [item["log_id"] for page in pages for item in page["items"]] == whole


_BAD_FILTERS: list[tuple[dict[str, Any], str]] = [
    ({"limit": 0}, "limit"),
    ({"limit": 501}, "limit"),
    ({"limit": "x"}, "limit"),
    ({"limit": "1_0"}, "limit"),
    ({"user_id": "1.0"}, "user_id"),
    ({"resource_id": " 1"}, "resource_id"),
    ({"offset": -1}, "offset"),
    ({"offset": 10**20}, "offset"),
    ({"user_id": 2**63}, "user_id"),
    ({"user_id": 0}, "user_id"),
    ({"resource_id": "1.5"}, "resource_id"),
    ({"event_id": "x"}, "event_id"),
    ({"from": "yesterday"}, "from"),
    ({"from": "2030-01-31T09:00:00"}, "from"),
    ({"from": "2030-01-02T00:00:00Z", "to": "2030-01-01T00:00:00Z"}, "to"),
    ({"action_type": "a\x00b"}, "action_type"),
    ({"action_type": ""}, "action_type"),
    ({"correlation_id": "x" * 201}, "correlation_id"),
    ({"colour": "red"}, "colour"),
    ({"limit": [1, 2]}, "limit"),
    ({"from": ["2030-01-01T00:00:00Z"] * 2}, "from"),
]


async def test_a_bad_filter_is_named(filled: Audit) -> None:
    """422 with the field, never a wider answer than was asked for."""
    for filters, field in _BAD_FILTERS:
        answer = await filled.ask(1, role="operator", **filters)
        assert answer.status_code == 422, filters
        assert [error["field"] for error in answer.json()["errors"]] == [field]


async def test_times_at_the_ends_of_the_calendar_are_answered(filled: Audit) -> None:
    """Far away is empty or everything, not an error."""
    for moment in ("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", "1970-01-01T00:00:00Z"):
        assert (await filled.ask(7, **{"from": moment})).status_code == 200
        assert (await filled.ask(7, to=moment)).status_code == 200


async def test_a_query_needs_a_token(filled: Audit) -> None:
    """Nothing is answered to nobody."""
    assert (await filled.http.get("/api/audit/logs")).status_code == 401
    assert (await filled.http.get("/api/audit/logs", headers=GUARD)).status_code == 401


# Health


async def test_readiness_and_metrics_tell_of_a_pause(audit: Audit) -> None:
    """Ready while all is well; a paused consumer is named with its reason."""
    assert (await audit.http.get("/readyz")).json() == {"status": "ready"}
    with psycopg.connect(audit.todo.admin_url, autocommit=True) as link:
        link.execute("ALTER TABLE audit.audit_logs ADD CHECK (topic <> 'task-events')")
    for _ in range(20):
        await audit.deliver("task-events", [record("task-events")])
    ready = await audit.http.get("/readyz")
    assert ready.status_code == 503
    assert ready.json()["missing"]["consumer"].startswith("paused: task-events: 20 of the last 20 attempts failed")
    assert 'consumer_paused{topic="task-events"} 1.0' in (await audit.http.get("/metrics")).text
    # Other topics go on, and the paused one by itself once its fault is gone.
    assert await audit.deliver("reminders", [record("reminders")]) == ["SUCCESS"]
    with psycopg.connect(audit.todo.admin_url, autocommit=True) as link:
        link.execute("ALTER TABLE audit.audit_logs DROP CONSTRAINT audit_logs_topic_check")
    audit.clock.move(seconds=6)
    assert await audit.deliver("task-events", [record("task-events")]) == ["SUCCESS"]
    assert (await audit.http.get("/readyz")).json() == {"status": "ready"}
