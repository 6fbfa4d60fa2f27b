"""The API server's verdict on what the chart makes: schemas of all kinds, strictly, and Pod Security."""

from __future__ import annotations

import json

import pytest
import yaml

from tests.cluster.kube import Cluster
from tests.helm import Chart, Object
from tests.unit.chart.combinations import COMBINATIONS


@pytest.fixture
def ready(cluster: Cluster, chart: Chart, control_plane: None, namespace: str) -> str:
    """The namespace with the accounts that a pod of its own needs to be admitted."""
    accounts = [item for item in chart.render("values-local.yaml") if item["kind"] == "ServiceAccount"]
    done = cluster.apply(_placed(accounts, namespace))
    assert (done.returncode, done.stderr) == (0, "")
    return namespace


def _placed(objects: list[Object], namespace: str) -> list[Object]:
    for item in objects:
        item["metadata"].setdefault("namespace", namespace)
    return objects


def test_the_server_accepts_everything_without_a_warning(cluster: Cluster, chart: Chart, ready: str) -> None:
    """A dry run of every object of every combination, those of Dapr, Strimzi, Prometheus and Sealed Secrets included."""
    distinct: dict[str, Object] = {}
    for overlays, values in COMBINATIONS.values():
        for item in chart.render(*overlays, values=values):
            # Strimzi's current operator knows its current version only. The accounts were made for the pods already.
            if item["apiVersion"] != "kafka.strimzi.io/v1beta2" and item["kind"] != "ServiceAccount":
                # A dry run needs a namespace that is there, also for what belongs to another one.
                item["metadata"]["namespace"] = ready
                distinct[json.dumps(item, sort_keys=True)] = item
    done = cluster.run(
        *("create", "--dry-run=server", "--validate=strict", "--filename=-"),
        text=yaml.safe_dump_all(distinct.values()),
        seconds=900,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == len(distinct)


def test_the_server_would_refuse_what_is_not_restricted(cluster: Cluster, chart: Chart, ready: str) -> None:
    """The check above would see a pod that may do more."""
    (pod,) = [item for item in chart.render() if item["kind"] == "Pod"]
    pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    done = cluster.apply(_placed([pod], ready), "--dry-run=server")
    assert done.returncode != 0
    assert "violates PodSecurity" in done.stderr
