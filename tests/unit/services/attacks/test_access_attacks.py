"""Attacks 12, 15 to 17, 35 and 36: what belongs to others, what is not the client's to set, doors, floods."""

from __future__ import annotations

import statistics
import time
from typing import Any

import pytest

from tests.unit.services.attacks.wire import request, say
from tests.unit.services.postgres_server import PostgresServer
from tests.unit.services.stand import NAMES, PASSWORD, SERVICE, SIDECAR, Stand, stand

SECRET = "the secret of the owner"
DUE = "2999-01-01T09:00:00Z"


def test_attack_12_tasks_of_others(target: Stand) -> None:
    """Every way to a task of somebody else is a 404, the same and as fast as to one that is not there."""
    theirs = target.create(user="t12-owner", title=SECRET, tags=["t12"], due_date=DUE)
    task = f"/api/tasks/{theirs['id']}"
    ways: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", task, {}),
        ("PATCH", task, {"json": {"title": "mine"}}),
        ("PATCH", task, {"json": {"title": "mine", "version": 1}}),
        ("PATCH", task, {"json": {"title": "mine"}, "headers": {"if-match": "*"}}),
        ("DELETE", task, {}),
        ("POST", f"{task}/complete", {}),
        ("POST", f"{task}/reopen", {}),
    ]
    for method, path, options in ways:
        answer = target.call(method, path, user="t12-thief", **options)
        nowhere = target.call(method, path.replace(str(theirs["id"]), str(2**63 - 1)), user="t12-thief", **options)
        assert (answer.status_code, nowhere.status_code) == (404, 404), (method, path)
        assert answer.json() | {"correlation_id": ""} == nowhere.json() | {"correlation_id": ""}
    reads = (
        "/api/tasks",
        "/api/tasks/search?q=secret",
        "/api/tasks/filter?tags=t12",
        "/api/changes",
        "/api/audit/logs",
    )
    for path in reads:
        answer = target.call("GET", path, user="t12-thief")
        assert (answer.status_code, answer.json()["items"]) == (200, []), path
        assert SECRET not in answer.text
    refused = target.call("GET", "/api/tasks?user_id=1", user="t12-thief")
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "user_id")
    other = target.call("GET", f"/api/audit/logs?user_id={_id(target, 't12-owner')}", user="t12-thief")
    assert other.status_code == 403
    assert target.call("GET", task, user="t12-owner").json() == theirs
    assert _oracle(target, task) < 3


def _oracle(target: Stand, task: str) -> float:
    """How many times longer a task of somebody else takes than one that is not there."""
    found: dict[str, list[float]] = {task: [], f"/api/tasks/{2**63 - 1}": []}
    for _ in range(30):
        for path, times in found.items():
            began = time.perf_counter()
            target.call("GET", path, user="t12-thief")
            times.append(time.perf_counter() - began)
    theirs, nowhere = (statistics.median(times) for times in found.values())
    return theirs / nowhere


def _id(target: Stand, user: str) -> int:
    return int(target.call("GET", "/api/auth/me", user=user, service="auth").json()["id"])


def test_attack_15_mass_assignment(target: Stand) -> None:
    """A field that is not the client's to set is a 422 that names it, and nothing is written."""
    task = target.create(user="t15")
    before = target.rows("SELECT * FROM api.tasks WHERE id = %s", task["id"])
    fields = ("user_id", "id", "created_at", "updated_at", "is_admin", "status", "series_id", "parent_task_id")
    fields += ("occurrence", "due_local", "completed_at", "priority_rank", "__proto__", "constructor", "Title")
    for field in fields:
        for method, path in (("POST", "/api/tasks"), ("PATCH", f"/api/tasks/{task['id']}")):
            answer = target.call(method, path, user="t15", json={"title": "x", field: 1})
            assert answer.status_code == 422, (method, field, answer.text)
            assert [error["field"] for error in answer.json()["errors"]] == [field]
    answer = target.call("POST", "/api/tasks", user="t15", json={"title": "x", "version": 9})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "version")
    assert target.rows("SELECT * FROM api.tasks WHERE id = %s", task["id"]) == before
    account = {"email": "t15-admin@example.org", "password": PASSWORD}
    for field, value in (("role", "operator"), ("id", 1), ("is_admin", True), ("password_hash", "x")):
        for path in ("/api/auth/register", "/api/auth/login"):
            answer = target.http.post(target.url("auth", path), json={**account, field: value})
            assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)
    assert target.rows("SELECT * FROM auth.users WHERE email = %s", account["email"]) == []


def test_attack_16_functions_of_others(target: Stand) -> None:
    """A user's token opens no internal route and no other user's audit; documents and metrics are not shown outside."""
    user = target.bearer("t16")
    for service, method, path, _ in guarded(target):
        answer = target.http.request(method, target.url(service, path), headers=user, json={})
        assert answer.status_code == 401, (service, path)
    for service in NAMES:
        for path in ("/docs", "/redoc", "/openapi.json", "/debug", "/admin", "/.env", "/.git/config", "/server-status"):
            assert target.http.get(target.url(service, path), headers=user).status_code == 404, (service, path)
        for header in ("x-forwarded-for", "forwarded", "x-real-ip"):
            outside = target.http.get(target.url(service, "/metrics"), headers={**user, header: "203.0.113.7"})
            assert outside.status_code == 404, (service, header)
    # Internal routes of other services are not among those that api passes on.
    for path in ("/internal/users/1", "/internal/keys/rotate", "/events/task-events", "/.well-known/jwks.json"):
        assert target.call("GET", path, user="t16").status_code in {404, 405}
    other = target.call("GET", "/api/audit/logs?user_id=999999", user="t16")
    assert (other.status_code, other.json()["code"]) == (403, "forbidden")
    target.token("t16-operator", role="operator")
    assert target.call("GET", "/api/audit/logs?user_id=999999", user="t16-operator").status_code == 200


def test_attack_17_floods(postgres_server: PostgresServer) -> None:
    """Beyond the rate a user gets 429 with Retry-After and others get on; a forwarded address is not believed."""
    database = postgres_server.new_database()
    with stand(database, rate_limit_per_second=3.0) as target:
        began = time.monotonic()
        names = ("t17-quiet", "t17-loud")
        for name in names:
            target.token(name)
        answers = [target.call("GET", "/api/tasks", user="t17-loud", headers=_spoofed(n)) for n in range(120)]
        passed = sum(answer.status_code == 200 for answer in answers)
        assert 6 <= passed <= 6 + 3 * (time.monotonic() - began) + 1
        refused = [answer for answer in answers if answer.status_code != 200]
        assert {answer.status_code for answer in refused} == {429}
        assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
        assert target.call("GET", "/api/tasks", user="t17-quiet").status_code == 200
        assert _guesses(target) == {401, 429}
        assert {429} <= _registrations(target) <= {409, 429}
    postgres_server.drop(database)


def _spoofed(number: int) -> dict[str, str]:
    address = f"203.0.113.{number}"
    return {
        "x-forwarded-for": address,
        "x-real-ip": address,
        "forwarded": f"for={address}",
        "x-client-address": address,
    }


def _guesses(target: Stand) -> set[int]:
    """Statuses of wrong passwords for one account, each from another pretended address, by both ways to auth."""
    body = {"email": "t17-quiet@example.org", "password": "wrong password"}
    sent = [
        target.http.post(target.url(service, "/api/auth/login"), json=body, headers=_spoofed(number))
        for number in range(30)
        for service in ("auth", "api")
    ]
    assert sent[-1].status_code == 429
    return {answer.status_code for answer in sent}


def _registrations(target: Stand) -> set[int]:
    body = {"email": "t17-quiet@example.org", "password": PASSWORD}
    path = target.url("auth", "/api/auth/register")
    sent = [target.http.post(path, json=body, headers=_spoofed(n)).status_code for n in range(60)]
    return set(sent[1:])


def guarded(target: Stand) -> list[tuple[str, str, str, list[str]]]:
    """Service, method, path and the tokens it needs, of every route that is not for users; from the documents."""
    found = []
    for service in NAMES:
        for path, operations in target.apps[service].openapi()["paths"].items():
            for method, operation in operations.items():
                doors = [name for door in operation.get("security", ()) for name in door]
                if "dapr-api-token" in doors:
                    place = path.replace("{email}", "a@b.c").replace("{name}", "reminders-1")
                    for name in ("user_id", "reminder_id"):
                        place = place.replace(f"{{{name}}}", "1")
                    found.append((service, method.upper(), place, doors))
    return found


def test_attack_35_past_the_sidecar(target: Stand) -> None:
    """Every subscription, job and internal route says 401 to a call without the sidecar's token, and does nothing."""
    routes = guarded(target)
    assert {(service, path) for service, _, path, _ in routes} >= {
        ("api", "/internal/occurrences"),
        ("api", "/job/reminders-1"),
        ("audit", "/events/dlq-events"),
        ("auth", "/internal/keys/rotate"),
        ("notification", "/events/reminders"),
        ("recurring", "/events/task-events"),
        ("sync", "/events/task-updates"),
    }
    state = _state(target)
    for service, method, path, doors in routes:
        url = target.url(service, path)
        for headers in ({}, {"x-service-token": "service-token"}, target.bearer("t35")):
            answer = target.http.request(method, url, headers=headers, content=b"{}")
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized"), (service, path)
        if len(doors) > 1:
            assert target.http.request(method, url, headers=SIDECAR, content=b"{}").status_code == 401
    assert _state(target) == state


def test_attack_36_wrong_tokens(target: Stand) -> None:
    """A wrong, empty, doubled or differently placed token is a 401 on every such route; a query changes nothing."""
    state = _state(target)
    for service, method, path, _ in guarded(target):
        for values in (
            ("",),
            ("app-toke",),
            ("app-tokenn",),
            ("APP-TOKEN",),
            ("app-token", "app-token"),
            ("dapr-token",),
        ):
            headers = [*(("dapr-api-token", value) for value in values), ("x-service-token", "service-token")]
            answer = target.http.request(method, target.url(service, path), headers=headers, content=b"{}")
            assert answer.status_code == 401, (service, path, values)
        for query in ("?x=/healthz", "?dapr-api-token=app-token", "?/v1.0/healthz", "#/healthz"):
            answer = target.http.request(method, target.url(service, path) + query, content=b"{}")
            assert answer.status_code == 401, (service, path, query)
    raw = say(target.ports["api"], request("GET /internal/users/1/changes?x=/healthz HTTP/1.1", "dapr-api-token: \xff"))
    assert raw.statuses == [401]
    assert _state(target) == state
    assert target.http.get(target.url("api", "/internal/users/1/changes"), headers=SERVICE).status_code == 200


def _state(target: Stand) -> list[Any]:
    """What such routes could have changed."""
    tables = ("auth.signing_keys", "api.tasks", "audit.audit_logs")
    counts = [target.rows(f"SELECT count(*) AS n FROM {table}") for table in tables]
    counts.append(target.rows("SELECT sum(last_seq) AS n FROM api.user_seqs"))
    published = [len(target.fakes[name].records) for name in ("recurring", "notification", "sync", "audit")]
    return [*counts, *published]


@pytest.fixture(autouse=True)
def _users(target: Stand) -> None:
    """Users that a test's last look at the state must not meet for the first time."""
    target.token("t35")
