"""The chart on a real cluster: Dapr's control plane, injected sidecars, mTLS; database and broker outside, behind TLS."""

from __future__ import annotations

import base64
import io
import os
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster import outside
from tests.cluster.kube import Cluster, until
from tests.helm import Chart, merged, nested
from tests.unit.sites import CHART
from todoctl.adapters import mails, sync
from todoctl.adapters.api import Addresses, Api
from todoctl.adapters.chart import read_values
from todoctl.adapters.kafka.client import Broker
from todoctl.operations import smoke

NAMESPACE = "todo-app-test"
SERVICES = ("api", "audit", "auth", "notification", "recurring", "sync")
REPLICAS = int(os.environ.get("TODOCTL_TEST_REPLICAS", "1"))
_HOST = os.environ.get("TODOCTL_TEST_HOST", "10.99.0.1")
# Images that `todoctl images build` made and that are in the node.
_IMAGES = {
    "registry": os.environ.get("TODOCTL_TEST_REGISTRY", "localhost"),
    "tag": os.environ.get("TODOCTL_TEST_TAG", "dev"),
}


@dataclass(frozen=True)
class Release:
    """The chart, deployed."""

    cluster: Cluster
    outside: outside.Outside

    def pods(self, component: str) -> list[dict[str, Any]]:
        """The pods of a component."""
        selector = f"app.kubernetes.io/component={component}"
        return list(self.cluster.get("--namespace", NAMESPACE, "pods", f"--selector={selector}")["items"])

    def python(self, component: str, code: str, container: str = "app") -> str:
        """What a program says that runs in a pod."""
        pod = self.pods(component)[0]["metadata"]["name"]
        arguments = ("--namespace", NAMESPACE, "exec", pod, f"--container={container}", "--", "python", "-c", code)
        return self.cluster.kubectl(*arguments)


def values(where: outside.Outside) -> dict[str, Any]:
    """Values for a cluster whose database and broker are processes on this machine."""
    address = [f"{where.host}/32"]
    token = {"source": "values", "values": {"token": where.password}}
    urls = {role: where.url(role) for role in ("todo_owner", *outside.ROLES)}
    account = {"username": outside.USER, "password": where.password, "ca.crt": where.certificate}
    sink = {"host": "mailsink", "port": "1025", "tls": "none", "sender": "Todo <todo@localhost>"}
    return merged(
        nested("kafka", {"replication": 1, "minInSyncReplicas": 1}),
        nested("kubernetes.images", _IMAGES),
        # Few and small, because one small node has to bear it all, twice over while it is upgraded.
        nested("kubernetes.workloads.default", {"replicas": REPLICAS, "autoscaling": {"maxReplicas": REPLICAS}}),
        nested("kubernetes.workloads.default.resources.requests", {"cpu": "20m", "memory": "96Mi"}),
        nested("kubernetes.workloads.default.sidecar.requests", {"cpu": "10m", "memory": "64Mi"}),
        nested("kubernetes.workloads.auth.resources.requests", {"cpu": "20m", "memory": "96Mi"}),
        nested("kubernetes.migration.resources.requests", {"cpu": "10m"}),
        nested(
            "kubernetes.kafka",
            {
                "brokers": where.brokers,
                "strimzi": {"enabled": False},
                "network": {"cidrs": address, "ports": [where.ports["kafka"]]},
            },
        ),
        nested(
            "kubernetes.postgresql",
            {"network": {"cidrs": address, "ports": [where.ports["postgres"]]}, "development": {"enabled": False}},
        ),
        nested(
            "kubernetes.secrets",
            {
                "database": {"source": "values", "values": urls},
                "daprToken": token,
                "appToken": token,
                "serviceToken": token,
                "kafka": {"source": "values", "values": account},
                "smtp": {"source": "values", "values": sink},
            },
        ),
        nested("kubernetes.mail", {"network": {"cidrs": [], "ports": []}, "development": {"enabled": True}}),
    )


@pytest.fixture(scope="module")
def release(cluster: Cluster, chart: Chart) -> Iterator[Release]:
    """The chart, every pod ready with its sidecar; gone afterwards."""
    if cluster.run("get", "deployment", "--namespace=dapr-system", "dapr-operator").returncode:
        pytest.fail("Dapr's control plane is not in the cluster")
    with outside.running(_HOST, read_values(chart.folder)) as where, tempfile.TemporaryDirectory() as folder:
        cluster.make_namespace(NAMESPACE)
        file = Path(folder) / "values.yaml"
        file.write_text(yaml.safe_dump(values(where)))
        try:
            done = chart.run(
                *("upgrade", "--install", "todo", str(chart.folder), "--namespace", NAMESPACE),
                *("--kube-context", cluster.context, "--values", str(file)),
                environ=cluster.environ,
            )
            assert done.returncode == 0, done.stderr
            found = Release(cluster, where)
            until(lambda: _all_ready(found), "all pods ready", seconds=600)
            yield found
        finally:
            if not os.environ.get("TODOCTL_TEST_KEEP"):
                cluster.kubectl("delete", "namespace", NAMESPACE, seconds=300)


def _all_ready(release: Release) -> bool:
    return all(
        len(pods := release.pods(name)) == REPLICAS and all(_is_ready(pod) and _has_sidecar(pod) for pod in pods)
        for name in SERVICES
    )


def _is_ready(pod: dict[str, Any]) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))


def _has_sidecar(pod: dict[str, Any]) -> bool:
    return any(container["name"] == "daprd" for container in pod["spec"]["containers"])


def test_the_main_job_is_done(release: Release, tmp_path: Path) -> None:
    """Account, task, event on the outside broker, next occurrence, audit rows, socket, reminder's mail."""
    since = datetime.now(UTC)
    services = read_values(CHART).services
    with ExitStack() as stack:
        at = {
            name: stack.enter_context(release.cluster.forwarded(NAMESPACE, name, services[name].port))
            for name in ("auth", "api", "audit", "sync")
        }
        api = stack.enter_context(Api(Addresses(**at)))
        edges = smoke.Edges(
            api=api,
            broker=Broker({"bootstrap.servers": release.outside.brokers_here}),
            open_socket=lambda token: sync.connected(api.sync_address, token, seconds=60),
            kept_mails=lambda: mails.read(_fetched(release, tmp_path), since=since),
            clock=lambda: datetime.now(UTC),
        )
        links = [link.name for link in smoke.play(edges, deadline_seconds=90)]
    assert links[-1] == "reminder mail"


def _fetched(release: Release, folder: Path) -> Path:
    """The sink's mails, copied out of its pod."""
    code = (
        "import base64,io,tarfile;b=io.BytesIO();t=tarfile.open(fileobj=b,mode='w');"
        "t.add('/mails','.');t.close();print(base64.b64encode(b.getvalue()).decode())"
    )
    packed = base64.b64decode(release.python("mailsink", code, container="mailsink"))
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def test_who_may_call_is_what_invokes_says(release: Release) -> None:
    """MTLS identities decide: a path that the caller's entry names is answered, every other is refused."""
    wanted = {
        ("audit", "auth", "/.well-known/jwks.json"): 200,
        ("audit", "auth", "/internal/users/1"): 403,
        ("notification", "auth", "/.well-known/jwks.json"): 403,
        ("recurring", "api", "/internal/heads"): 403,
    }
    code = (
        "import httpx,os,sys;"
        "print(httpx.get('http://127.0.0.1:3500/v1.0/invoke/{0}/method{1}',"
        "headers={{'dapr-api-token':os.environ['DAPR_API_TOKEN']}},timeout=20).status_code)"
    )
    found = {key: int(release.python(key[0], code.format(key[1], key[2]))) for key in wanted}
    assert found == wanted


def test_only_named_flows_pass(release: Release) -> None:
    """The same addresses from two pods: open to the one whose entry needs them, closed to the other."""
    host, port = release.outside.host, release.outside.ports["kafka"]
    flows = {
        ("notification", "mailsink", 1025): True,
        ("recurring", "mailsink", 1025): False,
        ("notification", "kubernetes.default", 443): True,
        ("recurring", "kubernetes.default", 443): False,
        ("recurring", host, port): True,
        ("auth", host, port): False,
        ("recurring", "auth", 8001): False,
    }
    code = "import socket\ntry: socket.create_connection(('{0}',{1}),5); print('open')\nexcept OSError: print('closed')"
    found = {key: release.python(key[0], code.format(key[1], key[2])).strip() == "open" for key in flows}
    assert found == flows


def test_sidecars_are_restricted(release: Release) -> None:
    """What was injected can do no more than our own containers, and has its limits."""
    for name in SERVICES:
        (sidecar,) = [c for c in release.pods(name)[0]["spec"]["containers"] if c["name"] == "daprd"]
        security = sidecar["securityContext"]
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert security["allowPrivilegeEscalation"] is False
        assert security["readOnlyRootFilesystem"] is True
        assert {"cpu", "memory"} <= set(sidecar["resources"]["limits"])


def test_helm_test_finds_everything_ready(release: Release, chart: Chart) -> None:
    """It asks every service, from a pod of its own."""
    done = chart.run(
        *("test", "todo", "--namespace", NAMESPACE, "--kube-context", release.cluster.context),
        environ=release.cluster.environ,
    )
    assert done.returncode == 0, done.stderr
    assert "Phase:          Succeeded" in done.stdout
