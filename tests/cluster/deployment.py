"""The platform as a release of our chart in the test cluster: database and broker outside, behind TLS and passwords."""

from __future__ import annotations

import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import outside
from tests.cluster.kube import Cluster, until
from tests.helm import Chart, merged, nested
from todoctl.adapters.chart import read_values

SERVICES = ("api", "audit", "auth", "notification", "recurring", "sync")
REPLICAS = int(os.environ.get("TODOCTL_TEST_REPLICAS", "1"))
HOST = os.environ.get("TODOCTL_TEST_HOST", "10.99.0.1")


@dataclass(frozen=True)
class Images:
    """Where the images of the services are."""

    registry: str
    tag: str


@dataclass(frozen=True)
class Release:
    """The chart, deployed in a namespace of its own with the values of a file."""

    cluster: Cluster
    outside: outside.Outside
    namespace: str
    values: Path

    def pods(self, component: str) -> list[dict[str, Any]]:
        """The pods of a component."""
        selector = f"app.kubernetes.io/component={component}"
        return list(self.cluster.get("--namespace", self.namespace, "pods", f"--selector={selector}")["items"])

    def python(self, component: str, code: str, container: str = "app") -> str:
        """What a program says that runs in a pod."""
        pod = self.pods(component)[0]["metadata"]["name"]
        arguments = ("--namespace", self.namespace, "exec", pod, f"--container={container}", "--", "python", "-c", code)
        return self.cluster.kubectl(*arguments)


def values(where: outside.Outside, images: Images) -> dict[str, Any]:
    """Values for a cluster whose database and broker are processes on this machine."""
    address = [f"{where.host}/32"]
    token = {"source": "values", "values": {"token": where.password}}
    urls = {role: where.url(role) for role in ("todo_owner", *outside.ROLES)}
    account = {"username": outside.USER, "password": where.password, "ca.crt": where.certificate}
    sink = {"host": "mailsink", "port": "1025", "tls": "none", "sender": "Todo <todo@localhost>"}
    return merged(
        nested("kafka", {"replication": 1, "minInSyncReplicas": 1}),
        nested("kubernetes.images", asdict(images)),
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


@contextmanager
def deployed(cluster: Cluster, chart: Chart, images: Images) -> Iterator[Release]:
    """The chart, every pod ready with its sidecar; gone afterwards, unless TODOCTL_TEST_KEEP is set."""
    namespace = f"todo-app-{uuid.uuid4().hex[:8]}"
    with (
        outside.running(HOST, read_values(chart.folder), f"{namespace}-inside") as where,
        tempfile.TemporaryDirectory() as folder,
    ):
        file = Path(folder) / "values.yaml"
        file.write_text(yaml.safe_dump(values(where, images)))
        cluster.make_namespace(namespace)
        try:
            done = chart.run(
                *("upgrade", "--install", "todo", str(chart.folder), "--namespace", namespace),
                *("--kube-context", cluster.context, "--values", str(file)),
                environ=cluster.environ,
            )
            assert done.returncode == 0, done.stderr
            found = Release(cluster, where, namespace, file)
            try:
                until(lambda: _all_ready(found), "all pods ready", seconds=420)
            except AssertionError as error:
                error.add_note(_evidence(cluster, namespace))
                raise
            yield found
        finally:
            if not os.environ.get("TODOCTL_TEST_KEEP"):
                cluster.kubectl("delete", "namespace", namespace, seconds=300)


def _evidence(cluster: Cluster, namespace: str) -> str:
    """What a person would look at first."""
    pods = cluster.run("get", "pods", "--namespace", namespace, "--output=wide").stdout
    events = cluster.run("get", "events", "--namespace", namespace, "--sort-by=.lastTimestamp").stdout
    return f"{pods}\n" + "\n".join(events.splitlines()[-30:])


def _all_ready(release: Release) -> bool:
    return all(
        len(pods := release.pods(name)) == REPLICAS and all(_is_ready(pod) and _has_sidecar(pod) for pod in pods)
        for name in SERVICES
    )


def _is_ready(pod: dict[str, Any]) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))


def _has_sidecar(pod: dict[str, Any]) -> bool:
    return any(container["name"] == "daprd" for container in pod["spec"]["containers"])
