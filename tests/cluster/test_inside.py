"""Kafka and PostgreSQL inside the cluster, which this machine can't reach by name: ports lead there, for each command.

Pods that pass connections on stand in for Strimzi's broker and for the development database: they have the names, the
Services and the Secrets that these would have, and behind them are the real ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import yaml

from tests.cluster import outside
from tests.cluster.deployment import Images, Release
from tests.cluster.kube import Object, until
from tests.cluster.shell import Shell, kubeconfig, section
from tests.helm import merged, nested
from tests.live.letters import event
from tests.unit.sites import CHART
from todoctl.adapters.chart import read_values
from todoctl.errors import RefusedError

VALUES = read_values(CHART)
_RELAY = """
import asyncio, sys

async def copy(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()

async def handle(reader, writer):
    theirs, ours = await asyncio.open_connection(sys.argv[2], int(sys.argv[3]))
    await asyncio.gather(copy(reader, ours), copy(theirs, writer), return_exceptions=True)

async def main():
    # Like a server that is careful, it listens where the kubelet's forwarding arrives and nowhere else.
    async with await asyncio.start_server(handle, "127.0.0.1", int(sys.argv[1])) as server:
        await server.serve_forever()

asyncio.run(main())
"""


def pod(name: str, image: str, port: int, host: str, behind: int) -> Object:
    """A pod that passes connections on."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"relay": name}},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [
                {
                    "name": "relay",
                    "image": image,
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["python", "-c", _RELAY, str(port), host, str(behind)],
                    "ports": [{"name": "tcp", "containerPort": port}],
                    "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                }
            ],
        },
    }


def service(name: str, relay: str, port: int) -> Object:
    """A Service whose port is called by its pod's name for it."""
    ports = [{"name": "tcp", "port": port, "targetPort": "tcp"}]
    spec = {"selector": {"relay": relay}, "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def secret(name: str, **keys: str) -> Object:
    """A Secret in clear text."""
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": keys}


def objects(release: Release, images: Images) -> list[Object]:
    """What a namespace with both would have."""
    where, image = release.outside, f"{images.registry}/todo-api:{images.tag}"
    near = f"{where.host}:{where.listens['postgres']}"
    urls = {role: where.url(role).replace(near, "postgresql:5432") for role in ("todo_owner", *outside.ROLES)}
    return [
        pod("todo-dual-0", image, 9093, where.host, where.listens["kafka-hidden"]),
        service("todo-kafka-bootstrap", "todo-dual-0", 9093),
        pod("postgresql-0", image, 5432, where.host, where.listens["postgres"]),
        service("postgresql", "postgresql-0", 5432),
        secret("todo-database", **urls),
        secret(outside.USER, password=where.password),
        secret("todo-cluster-ca-cert", **{"ca.crt": where.certificate}),
    ]


@pytest.fixture(scope="module")
def inside(release: Release, service_images: Images, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """Todoctl with an environment whose database and broker are in the cluster."""
    cluster, namespace = release.cluster, release.outside.hidden
    cluster.make_namespace(namespace)
    try:
        for item in objects(release, service_images):
            item["metadata"]["namespace"] = namespace
            done = cluster.apply([item])
            assert (done.returncode, done.stderr) == (0, "")
        cluster.kubectl("--namespace", namespace, "wait", "pods", "--all", "--for=condition=Ready", "--timeout=120s")
        folder = tmp_path_factory.mktemp("inside")
        strimzi: dict[str, Any] = {"enabled": True, "namespace": namespace, "operatorUser": outside.USER}
        own = yaml.safe_load(release.values.read_text())
        changes = merged(
            nested("kubernetes.kafka", {"brokers": "", "strimzi": strimzi}),
            nested("kubernetes.postgresql.development.enabled", value=True),
        )
        (folder / "values.yaml").write_text(yaml.safe_dump(merged(own, changes)))
        made = Shell(folder, kubeconfig(release))
        made.write(there=section(release, namespace=namespace, values=[str(folder / "values.yaml")]))
        yield made
    finally:
        cluster.kubectl("delete", "namespace", namespace, "--wait=false")


def test_the_broker_is_reached_through_its_pod(inside: Shell) -> None:
    """By TLS that proves the broker's own name, with the operator's account, wherever the broker sends its clients."""
    rows = inside.run("topics", "list", "-o", "json").json()
    assert {(row["name"], row["chart"]) for row in rows} == {(name, "agrees") for name in VALUES.topics}
    assert {row["name"] for row in inside.run("groups", "list", "-o", "json").json()} >= {"audit", "recurring"}
    assert inside.run("dlq", "list", "-o", "json").code == 0
    tailed = inside.run("topics", "tail", "task-events", "-o", "json")
    assert tailed.code == 0, tailed.err


def test_letters_are_repaired_through_the_gateway(inside: Shell, release: Release, tmp_path: Path) -> None:
    """A broken event dies at each of its consumers; edited by hand it is sent once, and each has processed it."""
    number = uuid4().int % 10**9
    event_id, value = event(number)
    plan, editor, planted = (tmp_path / name for name in ("plan.jsonl", "editor", "event.json"))
    planted.write_bytes(value.replace(b'"completed"', b'"unfit"'))
    editor.write_text('#!/bin/sh\nexec sed -i \'s/"unfit"/"completed"/\' "$1"\n')
    editor.chmod(0o755)
    by_hand = replace(inside, variables={"EDITOR": str(editor)})
    assert inside.run("topics", "produce", "task-events", str(planted), "--raw", "--key", "7").code == 0
    letters = until(lambda: _letters(inside, event_id), "a letter of each consumer", seconds=60)
    assert {letter["consumer"] for letter in letters} == {"audit", "recurring"}
    told = inside.run("dlq", "show", letters[0]["letter"], "-o", "json").json()
    assert told["model"]
    unfit = inside.run("dlq", "plan", event_id, "--out", str(tmp_path / "unfit.jsonl"), "-o", "json")
    assert (unfit.code, unfit.json()["counts"].get("replay", 0)) == (0, 0), unfit.err
    planned = by_hand.run("dlq", "plan", event_id, "--edit", "--out", str(plan), "-o", "json")
    assert (planned.code, planned.json()["counts"]["replay"]) == (0, 1), planned.err
    asked = inside.run("dlq", "replay", "--plan", str(plan))
    assert (asked.code, "--yes" in asked.err) == (RefusedError.exit_code, True), asked.err
    done = inside.run("dlq", "replay", "--plan", str(plan), "--yes", "--wait", "120", "-o", "json")
    assert done.code == 0, done.err
    processed = {name: dict(counts) for name, counts in done.json()["consumers"].items()}
    assert processed == {"audit": {"processed": 1}, "recurring": {"processed": 1}}
    again = inside.run("dlq", "replay", "--plan", str(plan), "--yes", "--wait", "120", "-o", "json")
    assert (again.code, again.json()["replayed"]) == (0, 0), again.err
    assert _letters(inside, event_id, some=0) == []
    with psycopg.connect(release.outside.url("todo_owner"), connect_timeout=10) as link:
        audited = link.execute("SELECT count(*) FROM audit.audit_logs WHERE event_id = %s", (event_id,)).fetchall()
    assert audited == [(1,)]


def _letters(shell: Shell, event_id: str, *, some: int = 2) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = shell.run("dlq", "list", event_id, "--letters", "-o", "json").json()
    return found if len(found) >= some else []


def test_the_database_is_reached_through_its_pod(inside: Shell) -> None:
    """By the URLs that pods have."""
    status = inside.run("db", "status", "--check", "-o", "json").json()
    assert status["pending"] == []
    assert status["current"] == status["head"]


def test_what_is_missing_there_is_named(inside: Shell) -> None:
    """No service runs in the namespace: status says so and still has lag and outbox."""
    ended = inside.run("status", "-o", "json")
    seen = ended.json()
    assert ended.code == 3
    assert seen["outbox"]["entries"] is not None
    assert {row["messages"] is not None for row in seen["lag"]} == {True}
    assert {part["state"] for part in seen["parts"] if part["kind"] == "service"} == {"stopped"}
    assert "there is no Service auth" in inside.run("smoke").err
