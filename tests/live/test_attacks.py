"""Attacks 27 and 35 to 38 against a real platform: sidecars, their tokens and scopes, forged records; docs/attacks.md."""

from __future__ import annotations

import json
import secrets
import socket
from typing import Any

import httpx
import psutil
from confluent_kafka import Producer

from tests.live.conftest import Platform, until
from tests.live.users import register

SERVICES = ("auth", "api", "recurring", "notification", "audit", "sync")
EVENT_ROUTES = (
    ("recurring", "task-events"),
    ("sync", "task-updates"),
    ("audit", "dlq-events"),
    ("notification", "reminders"),
)


def _client(platform: Platform, service: str, token: str | None = None) -> httpx.Client:
    """A client of a service's sidecar."""
    headers = {} if token is None else {"dapr-api-token": token}
    url = f"http://127.0.0.1:{platform.port(f'{service}-dapr-http')}"
    return httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=20)


def _token(platform: Platform) -> str:
    return str(platform.secrets()["dapr_token"])


def test_attack_27_paths_of_invocation(platform: Platform) -> None:
    """No spelling of a path brings a caller without the service token to an internal route of api.

    Which app may call which path is mTLS's matter: here, without identities, tests/cluster has it.
    """
    spellings = (
        "internal/occurrences",
        "internal//occurrences",
        "internal/users/../occurrences",
        "internal/users/%2e%2e/occurrences",
        "internal/users/..%2foccurrences",
        "api/tasks/../../internal/occurrences",
        "api/tasks/..%2f..%2f..%2finternal/occurrences",
        "internal/occurrences;x",
        "INTERNAL/occurrences",
        "internal/occurrences%00",
    )
    for service in ("auth", "notification", "audit", "sync"):
        with _client(platform, service, _token(platform)) as client:
            for path in spellings:
                # As raw bytes, or the client would make the plain path of it.
                url = httpx.URL(str(client.base_url), raw_path=f"/v1.0/invoke/api/method/{path}".encode())
                answer = client.post(url, json={})
                assert answer.status_code in {400, 401, 403, 404, 405, 500}, (service, path, answer.text)
                if answer.status_code == 500:
                    assert "ERR_DIRECT_INVOKE" in answer.text


def test_attack_35_past_the_sidecar(platform: Platform) -> None:
    """A post to a subscription's or a job's route without the sidecar's token is a 401 without effect."""
    letters = _lag(platform)
    for service, topic in (*EVENT_ROUTES, ("api", "")):
        path = f"/events/{topic}" if topic else "/job/reminders-1"
        for headers in ({}, {"dapr-api-token": ""}, {"dapr-api-token": _token(platform)}):
            answer = httpx.post(f"{platform.url(service)}{path}", content=b"{", headers=headers, trust_env=False)
            assert answer.status_code == 401, (service, headers)
    assert _lag(platform) == letters


def _lag(platform: Platform) -> int:
    from confluent_kafka import Consumer, TopicPartition

    consumer = Consumer({"bootstrap.servers": f"127.0.0.1:{platform.port('kafka')}", "group.id": "attacks"})
    try:
        partitions = consumer.list_topics("dlq-events", timeout=10).topics["dlq-events"].partitions
        ends = [
            consumer.get_watermark_offsets(TopicPartition("dlq-events", number), timeout=10)[1] for number in partitions
        ]
        return sum(ends)
    finally:
        consumer.close()


def test_attack_36_tokens_of_sidecars(platform: Platform) -> None:
    """A sidecar answers nothing without exactly its token, whatever the query says, and listens on loopback only."""
    paths = ("/v1.0/metadata", "/v1.0/secrets/secretstore/smtp", "/v1.0/invoke/auth/method/.well-known/jwks.json")
    for service in SERVICES:
        for path in paths:
            for headers in ([], [""], ["wrong"], [_token(platform)[:-1]], ["", ""], [platform.secrets()["app_token"]]):
                with _client(platform, service) as client:
                    given = [("dapr-api-token", value) for value in headers]
                    for query in ("", "?x=/healthz", "?x=/v1.0/healthz", "?dapr-api-token=" + _token(platform)):
                        answer = client.get(path + query, headers=given)
                        assert answer.status_code == 401, (service, path, query, headers)
    # Dapr 1.16's scheduler has no option for the address of its health port.
    open_to_all = platform.port("scheduler-health")
    listening = [
        connection.laddr.ip
        for process in platform.processes()
        for connection in _connections(process)
        if connection.status == psutil.CONN_LISTEN and connection.laddr.port != open_to_all
    ]
    assert listening
    assert set(listening) <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


def _connections(process: psutil.Process) -> list[Any]:
    try:
        return [one for one in process.net_connections("inet") if one.family in {socket.AF_INET, socket.AF_INET6}]
    except psutil.Error:
        return []


def test_attack_37_scopes(platform: Platform) -> None:
    """A service publishes only to its topics, and reads no other's state, secrets or routes."""
    token = _token(platform)
    for service, topic in (
        ("recurring", "task-events"),
        ("recurring", "reminders"),
        ("sync", "task-events"),
        ("notification", "task-updates"),
        ("audit", "task-events"),
        ("auth", "task-events"),
        ("api", "no-such-topic"),
    ):
        with _client(platform, service, token) as client:
            for path in (f"/v1.0/publish/pubsub/{topic}", f"/v1.0-alpha1/publish/bulk/pubsub/{topic}"):
                answer = client.post(path, json={"specversion": "1.0"})
                assert answer.status_code in {400, 403, 404}, (service, topic, answer.text)
                assert "ERR_PUBSUB" in answer.text
    for service in SERVICES:
        with _client(platform, service, token) as client:
            secret = client.get("/v1.0/secrets/secretstore/smtp")
            allowed = service == "notification"
            assert (secret.status_code == 200) == allowed, (service, secret.text)
            # Nobody reads the passwords of databases or the tokens of others.
            for name in ("auth", "todo_owner", "dapr_token", "postgres", "connectionString"):
                assert client.get(f"/v1.0/secrets/secretstore/{name}").status_code in {401, 403, 404, 500}, (
                    service,
                    name,
                )
            if service in {"auth", "api", "audit"}:
                assert client.get("/v1.0/state/statestore/series-1").status_code in {400, 403, 404, 500}, service
    with _client(platform, "audit", token) as client:
        # Of the callers only recurring has the service token.
        assert client.post("/v1.0/invoke/api/method/internal/occurrences", json={}).status_code == 401
        assert client.get("/v1.0/invoke/audit/method/api/audit/logs").status_code == 401


def test_attack_38_forged_events(platform: Platform) -> None:
    """Records forged on a topic change no task, stop no sidecar, and block nobody: a real change still comes through."""
    mark = secrets.token_hex(8)
    with register(platform) as user:
        victim = user.create(title="as it was")
        producer = Producer({"bootstrap.servers": f"127.0.0.1:{platform.port('kafka')}"})
        for topic in ("task-events", "task-updates", "reminders"):
            for number, value in enumerate(_forged(mark, user.id, victim["id"])):
                producer.produce(topic, value=value, key=str(user.id), partition=number % 3)
        assert producer.flush(30) == 0
        proof = user.create(title="after the forgeries")
        until(60, lambda: any(row["resource_id"] == proof["id"] for row in user.audit()), "the change in the audit log")
        assert next(task for task in user.tasks() if task["id"] == victim["id"]) == victim
    for service in SERVICES:
        assert httpx.get(f"{platform.url(service)}/healthz", trust_env=False).status_code == 200
    restarted = {name: part for name, part in platform.parts().items() if part["state"] != "ready"}
    assert not restarted


def _forged(mark: str, user_id: int, task_id: int) -> list[bytes]:
    data = {
        "schema_version": "1.0",
        "event_id": mark,
        "user_id": user_id,
        "task_id": task_id,
        "event_type": "task.deleted",
    }
    envelope = {"specversion": "1.0", "id": mark, "source": "/evil", "type": "task.deleted", "data": data}
    return [
        json.dumps(envelope | changes).encode()
        for changes in (
            {},
            {"traceparent": 123, "tracestate": [1]},
            {"data": data | {"schema_version": "9.0"}},
            {"data": data | {"user_id": "1 OR 1=1"}},
            {"data": None},
            {"specversion": "2.0"},
        )
    ]
