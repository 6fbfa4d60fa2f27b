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
