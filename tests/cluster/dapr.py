"""Dapr's control plane in the test cluster."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.kube import Cluster
from tests.helm import Chart

NAMESPACE = "dapr-system"
VERSION = "1.16.0"
_MODULE = f"github.com/dapr/dapr@v{VERSION}"
_EXEMPT = {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system", NAMESPACE]}
# On a busy machine of two cores a control plane that answers late must not be ended for it.
_PATIENT = {"livenessProbe": {"failureThreshold": 20}}
VALUES: dict[str, Any] = {
    "global": {"registry": "localhost/dapr", "tag": VERSION},
    "dapr_operator": _PATIENT,
    "dapr_placement": _PATIENT,
    "dapr_sentry": _PATIENT,
    "dapr_scheduler": _PATIENT,
    "dapr_sidecar_injector": {
        **_PATIENT,
        # A namespace that enforces "restricted" takes no other sidecar.
        "sidecarDropALLCapabilities": True,
        "webhookFailurePolicy": "Fail",
        "namespaceSelector": {"matchExpressions": [_EXEMPT]},
    },
}


def ready(cluster: Cluster, helm: Path) -> None:
    """Have the control plane in the cluster, all of it ready; one that is there stays as it is."""
    if cluster.run("get", "deployment", f"--namespace={NAMESPACE}", "dapr-sidecar-injector").returncode:
        _install(cluster, helm)
    for kind in ("deployment", "statefulset"):
        for item in cluster.get(f"--namespace={NAMESPACE}", kind)["items"]:
            name = f"{kind}/{item['metadata']['name']}"
            cluster.kubectl("rollout", "status", f"--namespace={NAMESPACE}", name, "--timeout=240s", seconds=300)


def _install(cluster: Cluster, helm: Path) -> None:
    chart = Chart(helm, Path(_downloaded()) / "charts" / "dapr")
    with tempfile.TemporaryDirectory() as folder:
        values = Path(folder) / "values.yaml"
        values.write_text(yaml.safe_dump(VALUES))
        done = chart.run(
            *("upgrade", "--install", "dapr", str(packed(helm, Path(folder))), "--namespace", NAMESPACE),
            *("--create-namespace", "--kube-context", cluster.context, "--values", str(values)),
            environ=cluster.environ,
        )
    assert done.returncode == 0, done.stderr


def packed(helm: Path, folder: Path) -> Path:
    """Its chart as an archive in the folder."""
    chart = Chart(helm, Path(_downloaded()) / "charts" / "dapr")
    # The source has 0.0.0 there; Dapr's own releases are stamped like this.
    done = chart.run("package", str(chart.folder), "--version", VERSION, "--destination", str(folder))
    assert done.returncode == 0, done.stderr
    return folder / f"dapr-{VERSION}.tgz"


def _downloaded() -> str:
    """The folder of Dapr's own module, which has the chart."""
    done = subprocess.run(
        ["go", "mod", "download", "-json", _MODULE], capture_output=True, text=True, check=False, timeout=600, cwd="/"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return str(json.loads(done.stdout)["Dir"])
