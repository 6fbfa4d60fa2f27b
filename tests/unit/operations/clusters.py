"""A pretended cluster with state: the API server's objects over HTTP, and a Helm that makes them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from todoctl.adapters.helm import Release, Upgrade
from todoctl.adapters.kube.access import Access
from todoctl.adapters.kube.api import Kube
from todoctl.core.operators import merged
from todoctl.operations.operators.site import Clock, Site

Object = dict[str, Any]

# By which Helm knows the objects of a release.
OWN = {"meta.helm.sh/release-name": "dapr", "meta.helm.sh/release-namespace": "dapr-system"}

_RESOURCES = {
    "v1": [("pods", "Pod", True), ("secrets", "Secret", True), ("services", "Service", True)],
    "apps/v1": [("deployments", "Deployment", True), ("replicasets", "ReplicaSet", True)],
    "rbac.authorization.k8s.io/v1": [("clusterroles", "ClusterRole", False)],
    "apiextensions.k8s.io/v1": [("customresourcedefinitions", "CustomResourceDefinition", False)],
    "dapr.io/v1alpha1": [("components", "Component", True), ("subscriptions", "Subscription", True)],
}


@dataclass
class Server:
    """An API server: paths to objects, which verbs are forbidden, and what admission does to a pod."""

    objects: dict[str, Object] = field(default_factory=dict)
    forbidden: set[tuple[str, str]] = field(default_factory=set)
    admission: Callable[[Object], tuple[int, Object]] = lambda item: (200, item)
    writes: list[str] = field(default_factory=list)

    def put(self, path: str, **item: Any) -> Object:
        """An object at a path, as it is."""
        name = path.rpartition("/")[2]
        item["metadata"] = {"name": name, "generation": 1, **item.get("metadata", {})}
        self.objects[path] = item
        return item

    def answer(self, request: httpx.Request) -> httpx.Response:
        """What the server says."""
        path, verb = request.url.path, request.method
        if path == "/version":
            return httpx.Response(200, json={"gitVersion": "v1.34.4"})
        if verb == "POST" and path.endswith("selfsubjectaccessreviews"):
            asked = json.loads(request.content)["spec"]["resourceAttributes"]
            allowed = (asked["verb"], asked["resource"]) not in self.forbidden
            return httpx.Response(201, json={"status": {"allowed": allowed}})
        api = path.removeprefix("/apis/").removeprefix("/api/")
        if verb == "GET" and api in _RESOURCES:
            rows = [{"name": name, "kind": kind, "namespaced": home} for name, kind, home in _RESOURCES[api]]
            return httpx.Response(200, json={"resources": rows})
        return self._object(request, path, verb)

    def _object(self, request: httpx.Request, path: str, verb: str) -> httpx.Response:
        if verb == "PATCH":
            return self._patch(request, path)
        if verb == "DELETE":
            self.writes.append(f"DELETE {path}")
            return httpx.Response(200 if self.objects.pop(path, None) else 404, json={"message": "x"})
        if path in self.objects:
            answer = httpx.Response(200, json=self.objects[path])
            if "/customresourcedefinitions/" in path:
                self.objects[path]["status"] = {"conditions": [{"type": "Established", "status": "True"}]}
            return answer
        if path.rpartition("/")[2] in {row[0] for rows in _RESOURCES.values() for row in rows} | {
            "nodes",
            "storageclasses",
        }:
            return httpx.Response(200, json={"items": self._listed(path), "metadata": {}})
        return httpx.Response(404, json={"message": f"{path} not found"})

    def _listed(self, path: str) -> list[Object]:
        """The objects below a path; a path without a namespace means all of them."""
        home, _, plural = path.rpartition("/")
        return [
            item
            for key, item in self.objects.items()
            if key.startswith(f"{path}/")
            or ("/namespaces/" not in path and key.startswith(home) and f"/{plural}/" in key)
        ]

    def _patch(self, request: httpx.Request, path: str) -> httpx.Response:
        item = json.loads(request.content)
        if "dryRun" in request.url.params and item.get("kind") in {"Pod", "Subscription"}:
            status, answer = self.admission(item)
            return httpx.Response(status, json=answer)
        known = self.objects.get(path)
        if "merge-patch" in request.headers["content-type"]:
            self.writes.append(f"PATCH {path}")
            self.objects[path] = merged(known or {}, item)
            return httpx.Response(200, json=self.objects[path])
        generation = known["metadata"]["generation"] if known else 0
        changed = known is None or known.get("spec") != item.get("spec")
        made = {**(known or {}), **item, "metadata": {**item["metadata"], "generation": generation + changed}}
        if item.get("kind") == "CustomResourceDefinition":
            # The server has no conditions yet when it answers; by the next look there are some.
            made["status"] = made.get("status") or {"conditions": None, "storedVersions": None}
        if "dryRun" not in request.url.params:
            self.writes.append(f"PATCH {path}")
            self.objects[path] = made
        return httpx.Response(200, json=made)


@dataclass
class Charts:
    """A Helm: one release at a time, whose upgrade makes its objects on the server."""

    server: Server
    makes: list[Object] = field(default_factory=list)
    current: Release | None = None
    given: Object = field(default_factory=dict)
    upgrades: list[Upgrade] = field(default_factory=list)
    after: Callable[[], None] = lambda: None  # what the cluster does then

    def release(self, name: str, namespace: str) -> Release | None:
        """The one that there is."""
        return (
            self.current if self.current and (self.current.name, self.current.namespace) == (name, namespace) else None
        )

    def values(self, name: str, namespace: str) -> Object:
        """Those of the last upgrade."""
        return dict(self.given) if self.release(name, namespace) else {}

    def rendered(self, wanted: Upgrade, *, is_upgrade: bool = False) -> list[Object]:
        """What it would make."""
        assert is_upgrade == (self.release(wanted.name, wanted.namespace) is not None)
        return list(self.makes)

    def objects(self, name: str, namespace: str) -> list[Object]:
        """What it made."""
        return list(self.makes) if self.release(name, namespace) else []

    def upgrade(self, wanted: Upgrade) -> Release:
        """Make everything and say so."""
        self.upgrades.append(wanted)
        revision = self.current.revision + 1 if self.current else 1
        self.current = Release(
            wanted.name, wanted.namespace, revision, "deployed", "chart-1", "1", "now", wanted.description
        )
        self.given = dict(wanted.values)
        self.after()
        return self.current

    def uninstall(self, name: str, namespace: str, *, seconds: int = 300) -> None:
        """Nothing is left."""
        assert self.release(name, namespace)
        assert seconds > 0
        self.current = None

    def pull(self, chart: str, *, repository: str, version: str) -> Path:
        """There is no network here."""
        raise AssertionError(f"nothing is fetched in these tests: {chart} {version} from {repository}")


class Time:
    """Time that passes only where somebody waits; `at` are things that happen then."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.at: dict[float, Callable[[], None]] = {}

    def now(self) -> float:
        """Seconds since the beginning."""
        return self.seconds

    def pause(self, seconds: float) -> None:
        """Let time pass."""
        self.seconds += seconds
        for moment in [moment for moment in self.at if moment <= self.seconds]:
            self.at.pop(moment)()


def site(server: Server, helm: Charts, time: Time) -> Site:
    """All of it as a site."""
    kube = Kube(Access("test", "http://cluster.test"), "todo", transport=httpx.MockTransport(server.answer))
    return Site(kube, helm, Clock(time.now, time.pause))


def deployment(server: Server, name: str, *, namespace: str = "dapr-system", ready: int = 1) -> str:
    """A Deployment of one replica with its ReplicaSet; gives its path."""
    home = f"/apis/apps/v1/namespaces/{namespace}"
    path = f"{home}/deployments/{name}"
    server.put(
        path,
        metadata={"namespace": namespace, "uid": f"{name}-uid", "annotations": OWN},
        spec={"replicas": 1, "selector": {"matchLabels": {"app": name}}, "template": {"spec": {"containers": []}}},
        status={"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": ready},
    )
    server.put(
        f"{home}/replicasets/{name}-1",
        metadata={
            "namespace": namespace,
            "uid": f"{name}-set",
            "annotations": {"deployment.kubernetes.io/revision": "1"},
            "ownerReferences": [{"kind": "Deployment", "name": name, "uid": f"{name}-uid", "controller": True}],
        },
    )
    return path


def pod(
    server: Server, of: str, statuses: Iterable[Object], *, namespace: str = "dapr-system", image: str = ""
) -> None:
    """A pod of a Deployment's ReplicaSet."""
    containers = [{"name": "daprd", "image": image}] if image else []
    server.put(
        f"/api/v1/namespaces/{namespace}/pods/{of}-1-x",
        metadata={
            "namespace": namespace,
            "ownerReferences": [{"kind": "ReplicaSet", "name": f"{of}-1", "uid": f"{of}-set", "controller": True}],
        },
        spec={"containers": containers},
        status={"containerStatuses": list(statuses)},
    )
