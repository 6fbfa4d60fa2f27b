"""Which parts a platform has in a cluster, and what is said of their pods."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.operations.kubernetes.cluster import NAMESPACE, FakeCluster, pod
from tests.unit.sites import CHART
from todoctl.adapters.chart import read_values
from todoctl.adapters.kube.kinds import POD_METRICS, PODS
from todoctl.core.parts import sidecar_name
from todoctl.operations.kubernetes import pods
from todoctl.operations.kubernetes.pods import Place, Pods, places
from todoctl.operations.kubernetes.status import part, replicas

LOCAL = read_values(CHART, (CHART / "values-local.yaml",))
CLOUD = read_values(CHART, (CHART / "values-cloud.yaml",))
_PAIRS = [name for app in LOCAL.services for name in (app, sidecar_name(app))]
API = next(place for place in places(LOCAL, NAMESPACE) if place.name == "api")
SIDECAR = next(place for place in places(LOCAL, NAMESPACE) if place.name == "api-daprd")


def test_parts_are_those_that_run_in_the_cluster() -> None:
    """Named as on one machine; what lies outside is no part of the cluster."""
    everything = [place.name for place in places(LOCAL, NAMESPACE)]
    assert everything == ["postgres", "kafka", "scheduler", "mailsink", *_PAIRS]
    assert [place.name for place in places(CLOUD, NAMESPACE)] == ["scheduler", *_PAIRS]


def test_a_services_own_replicas_win() -> None:
    """Those of `default` hold for whoever says nothing."""
    wanted = {place.name: place.wanted for place in places(CLOUD, NAMESPACE)}
    assert (wanted["api"], wanted["auth"], wanted["api-daprd"]) == (3, 2, 3)


def seen(*items: dict[str, Any], place: Place = API) -> Any:
    """What status says of a part with these pods."""
    cluster = FakeCluster()
    for item in items:
        cluster.add(PODS, item)
    return part(place, Pods(cluster.kube))


def test_a_ready_part() -> None:
    """Healthy, with the youngest container's age, the release's version, its restarts; no process of this machine."""
    found = seen(pod("a", "api", restarts=2), pod("b", "api", created="2026-01-02T00:00:00Z"))
    assert (found.healthy, found.state, found.detail) == (True, "ready", "")
    assert (found.version, found.early_deaths, found.pid, found.memory_bytes) == ("0.1.0", 2, None, None)
    assert found.address == "api.todo:8000"
    assert seen(pod("a", "api"), place=SIDECAR).version == "1.2"


def test_no_pod() -> None:
    """Stopped; pods of others and those that end don't count."""
    ended = pod("a", "api")
    ended["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    failed = pod("b", "api")
    failed["status"]["phase"] = "Failed"
    found = seen(ended, failed, pod("c", "auth"))
    assert (found.healthy, found.state, found.detail) == (False, "stopped", "no pod runs")


@pytest.mark.parametrize(
    ("changes", "state", "detail"),
    [
        ({"waiting": "CrashLoopBackOff", "restarts": 4}, "unhealthy", "a CrashLoopBackOff"),
        ({"waiting": "ErrImageNeverPull"}, "unhealthy", "a ErrImageNeverPull"),
        ({}, "unhealthy", "a is not ready yet"),
        ({"created": "2999-01-01T00:00:00Z"}, "starting", "a is not ready yet"),
        ({"created": "2999-01-01T00:00:00Z", "restarts": 1}, "unhealthy", "a is not ready yet"),
    ],
)
def test_what_is_wrong_with_a_pod_is_named(changes: dict[str, Any], state: str, detail: str) -> None:
    """A young pod is starting, one that crashed or is old is sick; the others still count as ready."""
    found = seen(pod("a", "api", ready=False, **changes))
    assert (found.healthy, found.state) == (False, state)
    assert found.detail == f"0 of 1 pods ready; {detail}"


def test_a_pod_without_a_sidecar() -> None:
    """The injector was away when it was made."""
    found = seen(pod("a", "api", containers=("app",)), place=SIDECAR)
    assert not found.healthy
    assert "has no sidecar: Dapr did not inject one" in found.detail


def test_what_holds_a_pod_before_it_runs() -> None:
    """An init container that waits, or no node with room."""
    waits = pod("a", "api", ready=False, waiting="PodInitializing")
    waits["status"]["containerStatuses"] = []
    waits["status"]["initContainerStatuses"] = [
        {"name": "wait", "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}}
    ]
    assert pods.missing(waits, API) == "waits in wait for what it needs"
    full = pod("b", "api", ready=False)
    full["status"] = {
        "phase": "Pending",
        "conditions": [{"type": "PodScheduled", "status": "False", "message": "Insufficient memory"}],
    }
    assert pods.missing(full, API) == "has no node: Insufficient memory"


def test_memory_is_that_of_the_parts_own_containers() -> None:
    """A sidecar's is not its service's."""
    cluster = FakeCluster()
    cluster.add(PODS, pod("a", "api"))
    usage = [{"name": "app", "usage": {"memory": "64Mi"}}, {"name": "daprd", "usage": {"memory": "1000k"}}]
    cluster.add(POD_METRICS, {"metadata": {"name": "a"}, "containers": usage})
    found = Pods(cluster.kube)
    assert (found.memory(API), found.memory(SIDECAR)) == (64 * 2**20, 1_000_000)


def test_replicas_are_pods_and_a_ready_one_is_asked() -> None:
    """The oldest first."""
    cluster = FakeCluster()
    cluster.add(PODS, pod("new", "api", created="2026-02-01T00:00:00Z"))
    cluster.add(PODS, pod("old", "api", ready=False))
    found = Pods(cluster.kube)
    assert replicas(found, places(LOCAL, NAMESPACE), "api") == ["old", "new"]
    assert pods.ready_pod(found.of(API), API) == "new"
    assert pods.ready_pod([], API) is None


@pytest.mark.parametrize(("text", "count"), [("64Mi", 67108864), ("1Gi", 2**30), ("12345", 12345), ("2M", 2_000_000)])
def test_quantities(text: str, count: int) -> None:
    """As Kubernetes writes them."""
    assert pods.quantity(text) == count
