"""`todoctl install` and `uninstall` on a real cluster, as a person runs them: exit codes, JSON, and what is there then.

The operator is a small chart of our own; Dapr's, which others in the cluster need, is only tried where it is asked for:
TODOCTL_TEST_DAPR_CHART names its chart, TODOCTL_TEST_DAPR_VALUES a file with its values.
"""

from __future__ import annotations

import base64
import json
import os
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster import operator_chart
from tests.cluster.kube import Cluster, until
from tests.helm import helm
from tests.program import Ended, Program
from todoctl.settings import load

NAMESPACE = "kafka"
_USER = "todoctl-test-nobody"


@dataclass(frozen=True)
class Desk:
    """todoctl with the cluster as its environment `test`."""

    program: Program
    cluster: Cluster

    def run(self, *arguments: str) -> Ended:
        """A command on the cluster."""
        with self.program.start("-e", "test", *arguments) as process:
            out, err = process.communicate(timeout=900)
        return Ended(process.returncode, out, err)

    def install(self, *arguments: str) -> Ended:
        """`install strimzi`, its plan as JSON."""
        return self.run("install", "strimzi", "--output=json", *arguments)


def _program(folder: Path, cluster: Cluster, kubeconfig: Path, context: str) -> Program:
    config = folder / "todoctl.toml"
    config.write_text(f'[environments.test]\nkind = "kubernetes"\ncontext = "{context}"\nnamespace = "todo-test"\n')
    cache = load(os.environ, cwd=Path("/")).cache
    return Program(folder, {"KUBECONFIG": str(kubeconfig), "TODOCTL_CONFIG": str(config), "TODOCTL_CACHE": str(cache)})


@pytest.fixture
def desk(cluster: Cluster, tmp_path: Path) -> Iterator[Desk]:
    """A desk; what it installed is gone afterwards."""
    helm()
    kubeconfig = cluster.kubeconfig or Path(os.environ["KUBECONFIG"])
    if cluster.run("get", "namespace", NAMESPACE).returncode == 0:
        pytest.fail(f"the cluster has a namespace {NAMESPACE}: this test would take it away from somebody")
    yield Desk(_program(tmp_path, cluster, kubeconfig, cluster.context), cluster)
    for kind, name in (
        ("namespace", NAMESPACE),
        ("clusterrole", operator_chart.ROLE),
        ("customresourcedefinition", operator_chart.DEFINITION),
    ):
        cluster.kubectl("delete", kind, name, "--ignore-not-found", seconds=180)


def _changes(ended: Ended) -> dict[str, str]:
    return {action["name"]: action["change"] for action in ended.json()["actions"]}


RELEASE = f"{NAMESPACE}/strimzi"


def test_install_upgrade_and_again(desk: Desk, tmp_path: Path) -> None:
    """From nothing, then nothing to do, then another definition and other values; the values that it has stay."""
    chart = operator_chart.chart(tmp_path / "one")
    made = desk.install("--chart", str(chart), "--set", "replicas=2")
    assert made.code == 0, made.err
    assert _changes(made) == {operator_chart.DEFINITION: "create", RELEASE: "create"}
    assert all(check["verdict"] == "ok" for check in made.json()["checks"]), made.json()["checks"]
    deployment = desk.cluster.get("-n", NAMESPACE, "deployment", "test-operator")
    assert deployment["status"]["readyReplicas"] == 2

    again = desk.install("--chart", str(chart))
    assert again.code == 0, again.err
    assert _changes(again) == {operator_chart.DEFINITION: "none", RELEASE: "none"}

    newer = operator_chart.chart(tmp_path / "two", definitions=(operator_chart.definition("v1", field="colour"),))
    bundle = tmp_path / "bundle.tar.gz"
    operator_chart.packed(newer, into=tmp_path / "charts")
    with tarfile.open(bundle, "w:gz") as archive:
        archive.add(tmp_path / "charts", "charts")
    dry = desk.install("--bundle", str(bundle), "--set", "replicas=1", "--dry-run")
    assert dry.code == 0, dry.err
    assert _changes(dry) == {operator_chart.DEFINITION: "change", RELEASE: "change"}
    upgraded = desk.install("--bundle", str(bundle), "--set", "replicas=1")
    assert upgraded.code == 0, upgraded.err
    served = desk.cluster.get("customresourcedefinition", operator_chart.DEFINITION)
    assert "colour" in json.dumps(served["spec"])
    assert desk.cluster.get("-n", NAMESPACE, "deployment", "test-operator")["status"]["readyReplicas"] == 1


@pytest.mark.parametrize(
    ("settings", "code", "said"),
    [
        (("image=localhost/nowhere:1", "policy=Never"), 3, "ErrImageNeverPull"),
        (("image=localhost/nowhere:1",), 3, "ImagePullBackOff"),
        (("command={/absent}",), 3, "RunContainerError"),
        (("port=9",), 7, "0 of 1 pods are new and ready"),
    ],
)
def test_what_cant_get_ready_is_told(
    desk: Desk, tmp_path: Path, settings: tuple[str, ...], code: int, said: str
) -> None:
    """Exit 3 as soon as waiting is in vain, with the pod and the reason; exit 7 when time is up. The repair is a new install."""
    chart = operator_chart.chart(tmp_path)
    given = [part for setting in settings for part in ("--set", setting.replace("{", "[").replace("}", "]"))]
    failed = desk.install("--chart", str(chart), "--timeout", "15" if code == 7 else "100", *given)
    assert failed.code == code, failed.err
    assert said in failed.err
    assert "test-operator" in failed.err
    mended = desk.install("--chart", str(chart), "--reset-values")
    assert mended.code == 0, mended.err
    assert _changes(mended)[RELEASE] == "change"


def test_what_belongs_to_nobody_is_not_taken_without_agreement(desk: Desk, tmp_path: Path) -> None:
    """A role that an earlier installation left refuses; taken over it is part of the release."""
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole"}
    desk.cluster.apply([{**role, "metadata": {"name": operator_chart.ROLE}, "rules": []}])
    chart = operator_chart.chart(tmp_path)
    refused = desk.install("--chart", str(chart))
    assert refused.code == 8
    assert f"ClusterRole {operator_chart.ROLE} (of no release)" in refused.err
    assert desk.cluster.run("get", "namespace", NAMESPACE).returncode != 0
    unasked = desk.install("--chart", str(chart), "--take-over")
    assert unasked.code == 8
    taken = desk.install("--chart", str(chart), "--take-over", "--yes")
    assert taken.code == 0, taken.err
    assert desk.install("--chart", str(chart)).code == 0


def test_versions_that_objects_are_stored_in_must_stay(desk: Desk, tmp_path: Path) -> None:
    """A definition that forgets one is refused before anything is changed."""
    old = operator_chart.chart(tmp_path / "old", definitions=(operator_chart.definition("v1beta2"),))
    assert desk.install("--chart", str(old)).code == 0
    new = operator_chart.chart(tmp_path / "new", definitions=(operator_chart.definition("v1"),))
    refused = desk.install("--chart", str(new))
    assert refused.code == 8
    assert f"{operator_chart.DEFINITION} has objects stored as v1beta2" in refused.err
    both = operator_chart.chart(tmp_path / "both", definitions=(operator_chart.definition("v1beta2", "v1"),))
    assert desk.install("--chart", str(both)).code == 0


def test_an_attempt_that_was_killed_is_forgotten_only_when_asked(desk: Desk, tmp_path: Path) -> None:
    """A release that stayed pending refuses, says so, and is repaired by --unlock."""
    chart = operator_chart.chart(tmp_path)
    assert desk.install("--chart", str(chart)).code == 0
    name = "sh.helm.release.v1.strimzi.v1"
    secret = desk.cluster.get("-n", NAMESPACE, "secret", name)
    secret["metadata"] = {
        "name": "sh.helm.release.v1.strimzi.v2",
        "namespace": NAMESPACE,
        "labels": {**secret["metadata"]["labels"], "status": "pending-upgrade", "version": "2"},
    }
    secret["data"]["release"] = _pending(secret["data"]["release"])
    desk.cluster.apply([secret])
    refused = desk.install("--chart", str(chart))
    assert refused.code == 8
    assert "is pending-upgrade since" in refused.err
    assert "--unlock" in refused.err
    mended = desk.install("--chart", str(chart), "--unlock", "--yes")
    assert mended.code == 0, mended.err


def _pending(stored: str) -> str:
    """A stored release, turned into one that an upgrade was killed in."""
    import gzip

    document = json.loads(gzip.decompress(base64.b64decode(base64.b64decode(stored))))
    document["version"], document["info"]["status"] = 2, "pending-upgrade"
    return base64.b64encode(base64.b64encode(gzip.compress(json.dumps(document).encode()))).decode()


def test_uninstall_refuses_while_something_depends_on_it(desk: Desk, tmp_path: Path) -> None:
    """A topic in any namespace is in the way; without it the plan is shown, agreement asked, and again there is nothing to do."""
    assert desk.install("--chart", str(operator_chart.chart(tmp_path))).code == 0
    topic = {
        "apiVersion": "kafka.strimzi.io/v1",
        "kind": "KafkaTopic",
        "metadata": {"name": "left", "namespace": "default"},
        "spec": {"partitions": 1, "replicas": 1},
    }
    assert desk.cluster.apply([topic]).returncode == 0
    try:
        refused = desk.run("uninstall", "strimzi", "--yes")
        assert refused.code == 8
        assert "KafkaTopic default/left" in refused.err
    finally:
        desk.cluster.kubectl("delete", "kafkatopic", "left", "--namespace=default")
    # Namespaces of tests before this one may still be going.
    kinds = "kafkas,kafkatopics,kafkausers"
    until(
        lambda: not desk.cluster.kubectl("get", kinds, "-A", "-o", "name"), "nothing of Strimzi's is left", seconds=180
    )
    unasked = desk.run("uninstall", "strimzi")
    assert unasked.code == 8
    assert "add --yes" in unasked.err
    gone = desk.run("uninstall", "strimzi", "--yes", "--output=json")
    assert gone.code == 0, gone.err
    removed = [action["name"] for action in gone.json()["actions"] if action["change"] == "remove"]
    assert removed == [RELEASE]
    assert desk.cluster.run("get", "-n", NAMESPACE, "deployment", "test-operator").returncode != 0
    assert desk.cluster.run("get", "customresourcedefinition", "kafkatopics.kafka.strimzi.io").returncode == 0
    again = desk.run("uninstall", "strimzi", "--yes")
    assert again.code == 0
    assert "nothing to do" in again.err


def test_who_may_nothing_is_told_at_once(desk: Desk, tmp_path: Path) -> None:
    """Exit 9 for rights, 3 for a server that is away, 2 for a context that is not there; each within 10 s."""
    chart = operator_chart.chart(tmp_path)
    cluster = desk.cluster
    cluster.kubectl("create", "serviceaccount", _USER, "--namespace=default")
    try:
        token = cluster.kubectl("create", "token", _USER, "--namespace=default").strip()
        known = cluster.get("namespaces")  # the server answers
        assert known["items"]
        view = json.loads(cluster.kubectl("config", "view", "--raw", "--minify", "--output=json"))
        at = view["clusters"][0]["cluster"]
        kubeconfigs: dict[str, tuple[dict[str, Any], str, int]] = {
            "rights": (at, cluster.context, 9),
            "away": ({**at, "server": "https://10.255.255.1:6443"}, cluster.context, 3),
            "closed": ({**at, "server": "https://127.0.0.1:9"}, cluster.context, 3),
            "context": (at, "another", 2),
        }
        for name, (server, context, code) in kubeconfigs.items():
            folder = tmp_path / name
            folder.mkdir()
            config = {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "c", "cluster": server}],
                "users": [{"name": "u", "user": {"token": token}}],
                "contexts": [{"name": cluster.context, "context": {"cluster": "c", "user": "u"}}],
                "current-context": cluster.context,
            }
            (folder / "kubeconfig").write_text(yaml.safe_dump(config))
            program = _program(folder, cluster, folder / "kubeconfig", context)
            started = time.monotonic()
            ended = program.run("-e", "test", "install", "strimzi", "--chart", str(chart))
            assert ended.code == code, (name, ended.err)
            assert time.monotonic() - started < 10
            assert "next:" in ended.err
    finally:
        cluster.kubectl("delete", "serviceaccount", _USER, "--namespace=default")


@pytest.mark.skipif(
    not os.environ.get("TODOCTL_TEST_DAPR_CHART"), reason="TODOCTL_TEST_DAPR_CHART names no chart of Dapr's"
)
def test_dapr_its_webhooks_and_its_older_sidecars(desk: Desk) -> None:
    """Uninstalled whole, installed from nothing, proven, installed again; then an upgrade finds and restarts older sidecars."""
    chart = os.environ["TODOCTL_TEST_DAPR_CHART"]
    values = os.environ["TODOCTL_TEST_DAPR_VALUES"]
    newer = os.environ["TODOCTL_TEST_DAPR_NEWER"]  # the sidecar's image under another name
    given = ("--chart", chart, "--values", values, "--set", "global.ha.enabled=false")
    gone = desk.run("uninstall", "dapr", "--purge", "--yes")
    assert gone.code == 0, gone.err
    assert desk.cluster.run("get", "namespace", "dapr-system").returncode != 0
    made = desk.run("install", "dapr", "--output=json", *given)
    assert made.code == 0, made.err
    assert "sidecar injector, conversion of subscriptions answer" in made.err
    again = desk.run("install", "dapr", "--output=json", *given)
    assert again.code == 0, again.err
    assert {action["change"] for action in again.json()["actions"]} == {"none"}

    name = "todo-sidecar-test"
    desk.cluster.make_namespace(name)
    try:
        assert desk.cluster.apply([_with_sidecar(name)]).returncode == 0
        until(lambda: _sidecars(desk, name), "a pod with a sidecar", seconds=120)
        refused = desk.run("uninstall", "dapr", "--yes")
        assert refused.code == 8
        assert f"pod with a sidecar {name}/" in refused.err
        upgrade = (*given, "--set", f"dapr_sidecar_injector.image.name={newer}")
        upgraded = desk.run("install", "dapr", "--output=json", *upgrade)
        assert upgraded.code == 0, upgraded.err
        (row,) = [row for row in upgraded.json()["older_sidecars"] if row["namespace"] == name]
        assert (row["kind"], row["name"], row["wanted"]) == ("Deployment", "app", newer)
        restarted = desk.run("install", "dapr", "--output=json", "--restart-sidecars", *upgrade)
        assert restarted.code == 0, restarted.err
        assert restarted.json()["older_sidecars"] == []
        until(lambda: _sidecars(desk, name) == {newer}, "the old pod is gone", seconds=120)
    finally:
        desk.cluster.kubectl("delete", "namespace", name, seconds=180)
        back = desk.run("install", "dapr", *given, "--set", "dapr_sidecar_injector.image.name=daprd")
        assert back.code == 0, back.err


def _sidecars(desk: Desk, namespace: str) -> set[str]:
    pods = desk.cluster.get("-n", namespace, "pods")["items"]
    return {c["image"] for pod in pods for c in pod["spec"]["containers"] if c["name"] == "daprd"}


def _with_sidecar(namespace: str) -> dict[str, Any]:
    safe = {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    notes = {
        "dapr.io/enabled": "true",
        "dapr.io/app-id": "app",
        "dapr.io/sidecar-seccomp-profile-type": "RuntimeDefault",
    }
    pod = {"name": "app", "image": "localhost/pause:1", "command": ["/pause"], "securityContext": safe}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "app", "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": {"app": "app"}},
            "template": {
                "metadata": {"labels": {"app": "app"}, "annotations": notes},
                "spec": {"containers": [pod], "terminationGracePeriodSeconds": 5},
            },
        },
    }
