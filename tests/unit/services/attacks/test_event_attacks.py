"""Attack 38: events that somebody put onto a topic by hand; docs/attacks.md."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import httpx

from tests.unit.services.records import envelope, origin_headers, single_body
from tests.unit.services.stand import SIDECAR, Stand

ROUTES = {"recurring": "task-events", "sync": "task-updates", "audit": "task-events", "notification": "reminders"}


def test_attack_38_forged_events(target: Stand) -> None:
    """A forged record is answered SUCCESS or RETRY, becomes a letter or has no effect, and changes no task."""
    victim = target.create(user="t38", title="as it was")
    tasks = target.rows("SELECT * FROM api.tasks WHERE id = %s", victim["id"])
    number = 10_000
    for service, topic in ROUTES.items():
        for name, forged, letters in _forgeries(topic, victim["id"]):
            before = _letters(target, service)
            number += 1
            answer = _deliver(target, service, topic, forged, number)
            assert answer.status_code == 200, (service, name, answer.text)
            assert answer.json() in ({"status": "SUCCESS"}, {"status": "RETRY"}, {"statuses": []}), (service, name)
            if letters:
                assert len(_letters(target, service)) == len(before) + 1, (service, name)
        assert target.http.get(target.url(service, "/healthz")).status_code == 200
    assert target.rows("SELECT * FROM api.tasks WHERE id = %s", victim["id"]) == tasks
    _replayed(target, number)


def _forgeries(topic: str, task_id: int) -> list[tuple[str, bytes, bool]]:
    """Name, record, and whether it must become a letter."""
    kinds: list[tuple[str, dict[str, Any], dict[str, Any], bool]] = [
        ("another tenant", {}, {"user_id": 999_999, "task_id": task_id}, False),
        ("a future version", {}, {"schema_version": "2.0"}, True),
        ("no version", {}, {"schema_version": None}, True),
        ("a version of a wrong type", {}, {"schema_version": [1]}, True),
        ("another type", {}, {"event_type": "user.promoted"}, True),
        ("an odd trace", {"traceparent": 123, "tracestate": [1], "traceid": {}}, {"user_id": 999_999}, False),
        ("a huge user", {}, {"user_id": 10**30}, True),
        ("no user", {}, {"user_id": None}, True),
        ("a payload that is none", {}, {"payload": {"__proto__": {}}}, True),
        ("an event id that is none", {}, {"event_id": "../../x"}, True),
    ]
    found = []
    for name, outside, inside, letters in kinds:
        forged = envelope(topic)
        forged |= outside
        forged["data"] |= inside
        found.append((name, json.dumps(forged).encode(), letters))
    return found


def _deliver(target: Stand, service: str, topic: str, value: bytes, offset: int) -> httpx.Response:
    headers = SIDECAR | origin_headers(topic, offset=offset)
    url = target.url(service, f"/events/{topic}")
    return target.http.post(url, content=single_body(value, topic), headers=headers)


def _letters(target: Stand, service: str) -> list[Any]:
    return [record for record in target.fakes[service].records if record.topic == "dlq-events"]


def _replayed(target: Stand, offset: int) -> None:
    """The same event again, and its id on another event, leave one row each for one id."""
    event_id = str(uuid4())
    for turn in range(3):
        forged = envelope("task-events", event_id=event_id)
        if turn == 2:
            forged["data"]["user_id"] = 999_998
        body = {"entries": [_entry(forged, offset + turn)], "id": "x", "topic": "task-events"}
        answer = target.http.post(target.url("audit", "/events/task-events"), json=body, headers=SIDECAR)
        assert answer.json() == {"statuses": [{"entryId": "0", "status": "SUCCESS"}]}
    rows = target.rows("SELECT user_id FROM audit.audit_logs WHERE event_id = %s", event_id)
    assert [row["user_id"] for row in rows] == [7]


def _entry(forged: dict[str, Any], offset: int) -> dict[str, Any]:
    from base64 import b64encode

    value = b64encode(json.dumps(forged).encode()).decode()
    metadata = origin_headers("task-events", partition=3, offset=offset)
    return {"entryId": "0", "event": value, "metadata": metadata, "contentType": "application/octet-stream"}
