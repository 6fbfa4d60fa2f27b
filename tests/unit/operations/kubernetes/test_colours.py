"""Switching between colours: on before anything leads there, as many pods as the other has, pods replaced to drain."""

from __future__ import annotations

import base64
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from tests.unit.operations.kubernetes.cluster import NAMESPACE, FakeCluster, pod
from tests.unit.sites import CHART
from todoctl.adapters.chart import read_values
from todoctl.adapters.kube.kinds import CONFIG_MAPS, DEPLOYMENTS, PODS, REPLICA_SETS, SECRETS
from todoctl.errors import RefusedError, WaitTimeoutError
from todoctl.operations.kubernetes.colours import Colours
from todoctl.operations.kubernetes.platform import ClusterPlatform
from todoctl.operations.kubernetes.pods import Pods, active, places
from todoctl.operations.operators.site import Clock

Object = dict[str, Any]
VALUES = read_values(CHART, (CHART / "values-local.yaml",))
_CONFIG = CONFIG_MAPS.path(NAMESPACE, "colours")


@dataclass
class Sidecars:
    """Green's sidecars, which pass calls on some askings after their pod has been touched and its colour is on."""

    cluster: FakeCluster
    patience: int = 2
    asked: list[str] = field(default_factory=list)
    port: int = 0

    def passes_on(self, token: str | None) -> bool:
        """Whether a call comes through."""
        self.asked.append(str(token))
        on = self.cluster.objects[_CONFIG]["data"]["green"] == "on"
        touched = "annotations" in self.cluster.objects[PODS.path(NAMESPACE, "g")]["metadata"]
        return on and touched and len(self.asked) > self.patience

    # As much of a platform as is used.
    @property
    def reach(self) -> Sidecars:
        return self

    def pod(self, name: str, port: int) -> str:
        """The way into a pod."""
        assert (name, port) == ("g", 3500)
        return f"127.0.0.1:{self.port}"

    def close(self) -> None:
        """Nothing is open."""


@contextmanager
def served(sidecars: Sidecars) -> Iterator[None]:
    """The sidecar's port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == "/v1.0/invoke/api/method/healthz"
            self.send_response(200 if sidecars.passes_on(self.headers["dapr-api-token"]) else 500)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        sidecars.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield
        server.shutdown()
        thread.join()


@pytest.fixture
def cluster() -> FakeCluster:
    """Blue runs with three pods, green has one that is idle."""
    made = FakeCluster()
    made.add(CONFIG_MAPS, {"metadata": {"name": "colours"}, "data": {"active": "blue", "blue": "on", "green": "off"}})
    made.add(SECRETS, {"metadata": {"name": "todo-dapr-token"}, "data": {"token": base64.b64encode(b"t").decode()}})
    for name, colour in (("b", "blue"), ("g", "green")):
        made.add(PODS, of(colour, pod(name, "api")))
    for name, colour, count in (("api", "blue", 3), ("api-green", "green", 1)):
        status = {"availableReplicas": count}
        made.add(DEPLOYMENTS, {**deployment(name, colour), "spec": {"replicas": count}, "status": status})
    return made


def of(colour: str, item: Object) -> Object:
    """With the label."""
    item["metadata"]["labels"]["colour"] = colour
    return item


def deployment(name: str, colour: str) -> Object:
    """As a release has it."""
    labels = {"app.kubernetes.io/component": "api", "colour": colour}
    return {"kind": "Deployment", "metadata": {"name": name, "labels": labels}}


def colours(cluster: FakeCluster, sidecars: Sidecars, seconds: float = 30) -> Colours:
    """Both, with a clock that only waiting moves."""
    now = [0.0]
    clock = Clock(lambda: now[0], lambda pause: now.__setitem__(0, now[0] + pause))
    return Colours(cluster.kube, clock, lambda _: cast("ClusterPlatform", sidecars), seconds)


def test_it_is_on_when_every_sidecar_passes_calls_on(cluster: FakeCluster) -> None:
    """Each pod is touched, so that its kubelet looks; then its sidecar is asked, with its token, until it does."""
    sidecars = Sidecars(cluster)
    with served(sidecars):
        events = list(colours(cluster, sidecars).switch_on("green", VALUES))
    assert [(event.name, event.state) for event in events] == [("green", "starting"), ("green", "ready")]
    assert sidecars.asked == ["t"] * 3
    assert "annotations" not in cluster.objects[PODS.path(NAMESPACE, "b")]["metadata"]
    assert active(cluster.kube) == "blue"


def test_one_that_stays_idle_is_named(cluster: FakeCluster) -> None:
    """Exit 7: nothing leads there yet."""
    sidecars = Sidecars(cluster, patience=10**6)
    with served(sidecars), pytest.raises(WaitTimeoutError, match=r"green was not on within 2 s: g"):
        list(colours(cluster, sidecars, seconds=2).switch_on("green", VALUES))


def test_a_colour_without_a_ready_pod(cluster: FakeCluster) -> None:
    """Nothing could be led there."""
    cluster.add(PODS, of("green", pod("g", "api", ready=False)))
    with pytest.raises(RefusedError, match="no pod of green is ready"):
        list(colours(cluster, Sidecars(cluster)).switch_on("green", VALUES))


def test_as_many_pods_as_run_now(cluster: FakeCluster) -> None:
    """Where an autoscaler decides; a fixed number is the values'."""
    objects = [deployment("api-green", "green")]
    path = DEPLOYMENTS.path(NAMESPACE, "api-green")
    both = colours(cluster, Sidecars(cluster))
    both.as_many(objects, "green", "blue")
    assert cluster.objects[path]["spec"]["replicas"] == 1
    scaler = {"kind": "HorizontalPodAutoscaler", "metadata": {"name": "api-green"}}
    both.as_many([*objects, {**scaler, "spec": {"scaleTargetRef": {"name": "api-green"}}}], "green", "blue")
    assert cluster.objects[path]["spec"]["replicas"] == 3


def test_a_way_back_needs_its_pods(cluster: FakeCluster) -> None:
    """Every Deployment of it, with one that is available."""
    both = colours(cluster, Sidecars(cluster))
    assert both.are_there([deployment("api", "blue")], "blue")
    assert not both.are_there([deployment("api", "blue"), deployment("auth", "blue")], "blue")
    cluster.objects[DEPLOYMENTS.path(NAMESPACE, "api")]["status"] = {}
    assert not both.are_there([deployment("api", "blue")], "blue")


def test_draining_replaces_the_pods_of_one_colour(cluster: FakeCluster) -> None:
    """One service after the other, by the annotation that every restart has; each is waited for before the next."""
    objects = [deployment("api", "blue"), deployment("auth", "blue"), deployment("api-green", "green")]
    done = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}
    touched: list[str] = []

    def restart(found: Object) -> None:
        name, colour = str(found["metadata"]["name"]), found["metadata"]["labels"]["colour"]
        assert found["spec"]["template"]["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"]
        touched.append(name)
        found |= {"status": done}
        cluster.add(PODS, owned(of(colour, pod(f"{name}-new", "api")), f"{name}-set"))

    for name in ("api", "auth"):
        found = {**deployment(name, "blue"), "spec": {"replicas": 1}, "status": {}}
        found["metadata"] |= {"uid": name, "generation": 1}
        cluster.add(DEPLOYMENTS, found)
        cluster.add(REPLICA_SETS, owned({"metadata": {"name": name, "uid": f"{name}-set"}}, name))
    cluster.on_patch = restart
    events = list(colours(cluster, Sidecars(cluster)).drain(objects, "blue"))
    assert touched == ["api", "auth"]
    assert [(event.name, event.state) for event in events] == [("api", "ready"), ("auth", "ready")]


def owned(item: Object, uid: str) -> Object:
    """By a Deployment or its ReplicaSet."""
    item["metadata"]["ownerReferences"] = [{"uid": uid}]
    return item


def test_the_idle_colours_pods_do_not_count(cluster: FakeCluster) -> None:
    """For status, logs and whoever asks a pod; the active colour is what the ConfigMap says."""
    place = next(place for place in places(VALUES, NAMESPACE) if place.name == "api")
    assert [item["metadata"]["name"] for item in Pods(cluster.kube).of(place)] == ["b"]
    cluster.objects[_CONFIG]["data"]["active"] = "green"
    assert [item["metadata"]["name"] for item in Pods(cluster.kube).of(place)] == ["g"]
