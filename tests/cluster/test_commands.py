"""The commands against a release in a real cluster: the same answers as on one machine, by the same exit codes."""

from __future__ import annotations

import json
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import pytest
import yaml

from tests.cluster.deployment import REPLICAS, SERVICES, Release
from tests.cluster.kube import until
from tests.cluster.shell import Shell, kubeconfig, section
from tests.helm import merged, nested
from tests.unit.sites import CHART, ROOT
from todoctl.adapters.chart import read_values
from todoctl.core.parts import sidecar_name

VALUES = read_values(CHART)
SCHEMA: dict[str, Any] = json.loads((ROOT / "docs" / "status.schema.json").read_text())


@pytest.fixture(scope="module")
def shell(release: Release, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """Todoctl with the environment `there`."""
    made = Shell(tmp_path_factory.mktemp("shell"), kubeconfig(release))
    made.write(there=section(release))
    return made


@pytest.fixture(scope="module")
def played(shell: Shell) -> list[dict[str, Any]]:
    """The links of a smoke, which leaves tasks, events, audit rows and a mail."""
    ended = shell.run("smoke", "--timeout", "90", "-o", "json")
    assert ended.code == 0, ended.err
    return list(ended.json())


def test_smoke_plays_the_whole_chain(played: list[dict[str, Any]]) -> None:
    """Every link that it has on one machine, the mail from the sink's pod included."""
    assert [link["link"] for link in played] == [
        *("account", "task created", "socket open", "request", "event on the topic", "socket", "next occurrence"),
        *("audit rows", "reminder mail"),
    ]


def test_status_has_the_documented_shape(shell: Shell) -> None:
    """The schema that holds on one machine holds here; every part is healthy, measured and of a known version."""
    # Pods are ready by now; on a busy machine the broker may once take longer than status waits for it.
    ended = until(lambda: (found := shell.run("status", "-o", "json")).code == 0 and found, "all healthy", seconds=120)
    seen = ended.json()
    jsonschema.validate(seen, SCHEMA, cls=jsonschema.Draft202012Validator)
    parts = {part["name"]: part for part in seen["parts"]}
    single = ["postgres", "kafka", "scheduler", "mailsink"]
    assert list(parts) == [*single, *(part for name in VALUES.services for part in (name, sidecar_name(name)))]
    assert seen["healthy"]
    assert {part["version"] for part in seen["parts"] if part["kind"] == "sidecar"} == {"1.16.0"}
    assert seen["release"]["revision"] == 1
    assert seen["release"]["schema_revision"] == shell.run("db", "status", "-o", "json").json()["current"]
    groups = {row["group"] for row in seen["lag"]}
    assert {"audit", "notification", "recurring"} < groups
    assert len([group for group in groups if group.startswith("sync-sync-")]) == REPLICAS
    assert all(row["messages"] is not None for row in seen["lag"])
    assert seen["outbox"]["entries"] is not None


def test_doctor_finds_nothing_wrong(shell: Shell, played: list[dict[str, Any]]) -> None:
    """Each check looked, a probe record passed each subscription, and the schema is the newest."""
    ended = shell.run("doctor", "-o", "json")
    findings = {finding["check"]: finding for finding in ended.json()}
    assert ended.code == 0, [finding for finding in findings.values() if finding["verdict"] == "fail"]
    wanted = {"cluster", "rights", "namespace", "release", "schema", "outbox", "clock", "dapr dapr-operator"}
    wanted |= {f"topic {name}" for name in VALUES.topics} | {f"part {name}" for name in SERVICES}
    wanted |= {
        f"subscription {app} {item.topic}" for app, service in VALUES.services.items() for item in service.subscribes
    }
    assert wanted <= set(findings)
    assert set(findings["schema"]) == {"check", "verdict", "seen", "fix", "is_safe_to_fix"}


def test_logs_of_apps_and_sidecars_are_one_stream(shell: Shell, played: list[dict[str, Any]]) -> None:
    """In time order, with the keys that they have on one machine; a correlation id finds its request."""
    correlation = next(link["seen"] for link in played if link["link"] == "request").rpartition(" ")[2]
    rows = [json.loads(line) for line in shell.run("logs", "-o", "jsonl", "--since", "30m").out.splitlines()]
    assert {row["part"] for row in rows} >= {part for name in SERVICES for part in (name, sidecar_name(name))}
    assert [row["time"] for row in rows] == sorted(row["time"] for row in rows)
    assert set(rows[0]) == {"time", "part", "instance", "level", "correlation_id", "text"}
    found = [
        json.loads(line)
        for line in shell.run("logs", "api", "--correlation", correlation, "-o", "jsonl").out.splitlines()
    ]
    assert found
    assert {row["correlation_id"] for row in found} == {correlation}


def test_logs_are_followed_into_pods_that_come_later(shell: Shell, release: Release) -> None:
    """A restart replaces the pod; what the new one writes comes without a new command."""
    with shell.start("-e", "there", "logs", "recurring", "-f", "-o", "jsonl", "--since", "1s") as follower:
        lines: list[dict[str, Any]] = []
        reader = threading.Thread(target=lambda: lines.extend(map(json.loads, follower.stdout or ())))
        reader.start()
        before = {pod["metadata"]["name"] for pod in release.pods("recurring")}
        done = shell.run("restart", "recurring", "--timeout", "170")
        assert done.code == 0, done.err
        until(lambda: {line["instance"] for line in lines} - before, "lines of the new pod", seconds=60)
        follower.terminate()
        reader.join(30)


def test_restart_ends_when_the_new_pods_serve(shell: Shell, release: Release) -> None:
    """Afterwards nothing of the old ones is left, and the platform works."""
    before = {pod["metadata"]["name"] for pod in release.pods("auth")}
    assert shell.run("restart", "auth", "--timeout", "170").code == 0
    assert not before & {
        pod["metadata"]["name"] for pod in release.pods("auth") if "deletionTimestamp" not in pod["metadata"]
    }
    assert shell.run("restart", "nothing").code == 2


def test_the_schema_is_read_and_migrated_with_the_owners_url(shell: Shell) -> None:
    """What a Job did is seen from here, and doing it again changes nothing."""
    status = shell.run("db", "status", "--check", "-o", "json").json()
    assert status["pending"] == []
    assert status["current"] == status["head"]
    assert shell.run("db", "migrate", "-o", "json").json() == status


def test_topics_agree_with_the_chart(shell: Shell) -> None:
    """By SASL over TLS with the account in the cluster's Secret."""
    rows = shell.run("topics", "list", "-o", "json").json()
    assert {(row["name"], row["chart"]) for row in rows} == {(name, "agrees") for name in VALUES.topics}
    assert shell.run("topics", "lag", "--max", "0", "--wait", "60s").code == 0
    assert {row["name"] for row in shell.run("groups", "list", "-o", "json").json()} >= {"audit", "recurring"}


def test_a_poisoned_record_becomes_letters(shell: Shell, tmp_path: Path) -> None:
    """Seen, planned for and purged, with the decision in a transaction of the cluster's own broker."""
    record, plan = tmp_path / "record", tmp_path / "plan.jsonl"
    record.write_text("no event")
    assert shell.run("topics", "produce", "task-events", str(record), "--raw", "--key", "7").code == 0
    where = ("--where", "origin=task-events")
    consumers = until(lambda: _consumers(shell, where), "letters of audit and recurring", seconds=60)
    assert consumers == {"audit", "recurring"}
    assert shell.run("dlq", "plan", "--out", str(plan), *where).code == 0
    purged = shell.run("dlq", "purge", *where, "--yes", "--archive", str(tmp_path / "archive.jsonl"))
    assert purged.code == 0, purged.err
    assert shell.run("dlq", "list", *where, "-o", "json").json() == []


def _consumers(shell: Shell, where: tuple[str, str]) -> set[str]:
    found = {group["consumer"] for group in shell.run("dlq", "list", *where, "-o", "json").json()}
    return found if len(found) > 1 else set()


def test_a_task_is_followed_through_everything(shell: Shell, played: list[dict[str, Any]]) -> None:
    """The path of the smoke's task is complete, mail and sockets included."""
    number = next(link["seen"] for link in played if link["link"] == "task created").split()[1].rstrip(",")
    ended = shell.run("trace", number, "-o", "json")
    assert ended.code == 0, ended.err
    told = ended.json()
    assert told["verdict"] == "complete"
    assert {"api", "topic task-events", "recurring", "audit", "sync"} <= {step["stage"] for step in told["steps"]}


def test_the_audit_log_is_verified(shell: Shell, played: list[dict[str, Any]]) -> None:
    """Its chains are walked from here."""
    told = shell.run("verify", "audit", "-o", "json").json()
    assert told["whole"]
    assert told["rows"] > 0


def test_mails_are_read_from_the_sinks_pod(shell: Shell, played: list[dict[str, Any]]) -> None:
    """The newest one is the smoke's; a user with that address can be made an operator."""
    wanted = next(link["seen"] for link in played if link["link"] == "reminder mail").partition(",")[0]
    listed = shell.run("mail", "list", "-o", "json").json()
    assert wanted in {mail["message_id"] for mail in listed}
    shown = shell.run("mail", "show", wanted, "-o", "json").json()
    assert shown["text"]
    user = shell.run("users", "grant", shown["to"], "-o", "json").json()
    assert (user["email"], user["role"]) == (shown["to"], "operator")
    assert shell.run("users", "revoke", shown["to"], "-o", "json").json()["role"] == "user"


def test_open_prints_every_address(shell: Shell) -> None:
    """The names that it has on one machine, as far as they exist here."""
    urls = shell.run("open", "--no-browser", "-o", "json").json()
    assert {*SERVICES, *(f"{name} metrics" for name in SERVICES), "kafka", "postgres", "mail sink"} <= set(urls)


@pytest.fixture(scope="module")
def broken(shell: Shell, release: Release, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """Environments that can't work: an unreachable cluster, no rights, a wrong context, no namespace, no such values."""
    cluster, folder = release.cluster, tmp_path_factory.mktemp("broken")
    name = f"nobody-{release.namespace}"
    cluster.kubectl("create", "serviceaccount", name, "--namespace=default")
    token = cluster.kubectl("create", "token", name, "--namespace=default").strip()
    config = yaml.safe_load(Path(shell.kubeconfig).read_text())
    known = next(item["context"] for item in config["contexts"] if item["name"] == cluster.context)
    with socket.create_server(("127.0.0.1", 0)) as gone:
        address = f"https://127.0.0.1:{gone.getsockname()[1]}"
    config["clusters"].append({"name": "away", "cluster": {"server": address}})
    # It takes connections and never says a word.
    deaf = socket.create_server(("127.0.0.1", 0))
    config["clusters"].append({"name": "deaf", "cluster": {"server": f"https://127.0.0.1:{deaf.getsockname()[1]}"}})
    config["users"].append({"name": "nobody", "user": {"token": token}})
    for context, where, user in (
        ("away", "away", known["user"]),
        ("deaf", "deaf", known["user"]),
        ("nobody", known["cluster"], "nobody"),
    ):
        config["contexts"].append({"name": context, "context": {"cluster": where, "user": user}})
    (folder / "kubeconfig").write_text(yaml.safe_dump(config))
    made = Shell(folder, str(folder / "kubeconfig"))
    made.write(
        away=section(release, context="away"),
        deaf=section(release, context="deaf"),
        forbidden=section(release, context="nobody"),
        wrong=section(release, context="nowhere"),
        empty=section(release, namespace="nothing-here"),
        bad=section(release, values=["nothing.yaml"]),
    )
    yield made
    deaf.close()
    cluster.kubectl("delete", "serviceaccount", name, "--namespace=default")


@pytest.mark.parametrize(
    ("environment", "code", "said"),
    [
        ("away", 3, "can't be reached"),
        ("deaf", 3, "can't be reached"),
        ("forbidden", 9, "does not allow it"),
        ("wrong", 2, "no context 'nowhere'; there are: "),
        ("empty", 3, "has no namespace nothing-here"),
        ("bad", 2, "nothing.yaml can't be read"),
    ],
)
def test_what_is_wrong_is_said_at_once(broken: Shell, environment: str, code: int, said: str) -> None:
    """An exit code for each way in which a cluster can't be used, by every command that needs one."""
    commands = ["status", "logs", "smoke", "db status", "topics list", "restart api", "mail list", "verify audit"]
    with ThreadPoolExecutor(max_workers=4) as pool:
        # Nothing is asked twice, and nothing for long: 10 s beside the others, of which starting Python is the most.
        runs = [pool.submit(broken.run, *text.split(), environment=environment, seconds=30) for text in commands]
        ended = {text: run.result() for text, run in zip(commands, runs, strict=True)}
    assert {text: (done.code, said in done.err) for text, done in ended.items()} == dict.fromkeys(
        commands, (code, True)
    )
    assert broken.run("doctor", environment=environment, seconds=30).code in {code, 3}


def test_a_broken_part_is_named(shell: Shell, release: Release) -> None:
    """A service without pods: status and doctor end with 3 and say which, what still works goes on working."""
    release.cluster.kubectl("--namespace", release.namespace, "scale", "deployment/notification", "--replicas=0")
    try:
        release.cluster.kubectl(
            *("--namespace", release.namespace, "wait", "--for=delete", "pod"),
            *("--selector=app.kubernetes.io/component=notification", "--timeout=90s"),
        )
        ended = shell.run("status", "-o", "json")
        ours = [part for part in ended.json()["parts"] if part["kind"] in {"service", "sidecar"}]
        sick = {part["name"]: part for part in ours if not part["healthy"]}
        assert ended.code == 3
        assert set(sick) == {"notification", "notification-daprd"}
        assert {(part["state"], part["detail"]) for part in sick.values()} == {("stopped", "no pod runs")}
        assert "notification: no pod runs" in ended.err
        assert shell.run("db", "status").code == 0
    finally:
        scale = ("scale", "deployment/notification", f"--replicas={REPLICAS}")
        release.cluster.kubectl("--namespace", release.namespace, *scale)
        release.cluster.kubectl(
            *("--namespace", release.namespace, "rollout", "status", "deployment/notification", "--timeout=120s")
        )


def test_the_page_is_forwarded_until_it_is_enough(shell: Shell, release: Release, tmp_path: Path) -> None:
    """Ports of this machine lead to the page and the sockets, on those that the values tell browsers."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        page, sockets = (f"http://127.0.0.1:{free.getsockname()[1]}" for free in (one, two))
    own = yaml.safe_load(release.values.read_text())
    (tmp_path / "values.yaml").write_text(
        yaml.safe_dump(merged(own, nested("kubernetes.urls", {"page": page, "sockets": sockets})))
    )
    there = Shell(tmp_path, shell.kubeconfig)
    there.write(there=section(release, values=[str(tmp_path / "values.yaml")]))
    with there.start("-e", "there", "open", "--forward", "-o", "jsonl") as opened:
        assert opened.stdout
        assert json.loads(opened.stdout.readline()) == {"page": page, "sockets": sockets}
        assert "<title>" in httpx.get(page, trust_env=False, timeout=30).text
        assert httpx.get(f"{sockets}/healthz", trust_env=False, timeout=30).is_success
        opened.send_signal(signal.SIGINT)
        assert opened.wait(30) == 130
