"""Load on the platform from a pod beside it, where policies let helm's own test in."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.cluster.kube import Cluster, until
from tests.helm import Chart

_NAME = "load"
_PROGRAM = Path(__file__).with_name("load_program.py")


@dataclass
class Load:
    """What was asked and answered, once it has ended."""

    told: dict[str, Any] = field(default_factory=dict)


@contextmanager
def running(cluster: Cluster, chart: Chart, namespace: str, image: str, *, rate: int) -> Iterator[Load]:
    """Ask so many times in a second for the length of a block; afterwards the answers are counted."""
    (hook,) = [item for item in chart.render() if item["kind"] == "Pod"]
    done = cluster.apply([_pod(hook, namespace, image, rate)])
    assert done.returncode == 0, done.stderr
    place, load = ("--namespace", namespace), Load()
    try:
        until(lambda: _began(cluster, namespace), "the load has begun", seconds=180)
        yield load
        cluster.kubectl("exec", *place, _NAME, "--", "touch", "/tmp/stop")
        until(lambda: _phase(cluster, namespace) in {"Succeeded", "Failed"}, "the load has ended", seconds=180)
        said = cluster.kubectl("logs", *place, _NAME)
        load.told = json.loads(said.splitlines()[-1])
    finally:
        cluster.run("delete", *place, "pod", _NAME, "--grace-period=1")


def _pod(hook: dict[str, Any], namespace: str, image: str, rate: int) -> dict[str, Any]:
    pod = copy.deepcopy(hook)
    pod["metadata"] |= {"name": _NAME, "namespace": namespace, "annotations": {"dapr.io/enabled": "false"}}
    environ = {"LOAD_RATE": str(rate), "LOAD_API": "http://api:8000", "LOAD_AUTH": "http://auth:8001"}
    (container,) = pod["spec"]["containers"]
    container |= {
        "name": _NAME,
        "image": image,
        "command": ["python", "-c", _PROGRAM.read_text()],
        "args": [],
        "env": [{"name": name, "value": value} for name, value in environ.items()],
        "resources": {"requests": {"cpu": "50m", "memory": "96Mi"}},
    }
    pod["spec"]["activeDeadlineSeconds"] = 900
    return pod


def _began(cluster: Cluster, namespace: str) -> bool:
    said = cluster.run("logs", "--namespace", namespace, _NAME).stdout
    assert _phase(cluster, namespace) in {"Pending", "Running"}, said
    return "began" in said


def _phase(cluster: Cluster, namespace: str) -> str:
    return str(cluster.get("--namespace", namespace, "pod", _NAME)["status"].get("phase", ""))
