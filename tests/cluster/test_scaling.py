"""Autoscaling: load raises the replicas, rest lowers them, and no request fails in either."""

from __future__ import annotations

import pytest

from tests.cluster import load
from tests.cluster.kube import until
from tests.cluster.place import Place
from tests.helm import Chart

# It waits for what the cluster measures, which takes minutes.
pytestmark = pytest.mark.slow

_MOST = 3
# Of a request of 20m: at rest api needs less, under load several times as much.
_SCALING = {"autoscaling": {"maxReplicas": _MOST, "cpuPercent": 500, "scaleDownSeconds": 20}}


@pytest.fixture(scope="module")
def place(bare_place: Place) -> Place:
    """A release whose api may have up to three replicas."""
    bare_place.change(kubernetes__workloads__api=_SCALING)
    bare_place.run("deploy", "--timeout", "300")
    return bare_place


def test_load_raises_the_replicas_and_rest_lowers_them(place: Place, chart: Chart) -> None:
    """Seen on the Deployment; the gentle load that goes on while replicas end has no failure, too."""
    until(lambda: _ready(place) == 1, "one replica at rest", seconds=60)
    image = place.image("api").replace("todo-api", "todo-migrations")
    with load.running(place.cluster, chart, place.namespace, image, rate=60) as busy:
        until(lambda: _ready(place) == _MOST, "three replicas under load", seconds=240)
    with load.running(place.cluster, chart, place.namespace, image, rate=4) as gentle:
        until(lambda: _ready(place) == 1, "one replica at rest", seconds=300)
    for seen in (busy, gentle):
        assert seen.told["failed"] == []
        assert seen.told["lost"] == 0
        assert seen.told["written"] > 0


def _ready(place: Place) -> int:
    """Ready replicas of api, once as many as are wanted."""
    status = place.cluster.get("--namespace", place.namespace, "deployment", "api")["status"]
    ready, there = int(status.get("readyReplicas", 0)), int(status.get("replicas", 0))
    return ready if ready == there else 0
