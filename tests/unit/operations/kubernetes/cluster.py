"""A cluster with a state: what the API server would answer, for tests of what is decided from it."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx

from todoctl.adapters.kube.access import Access
from todoctl.adapters.kube.api import Kube
from todoctl.adapters.kube.kinds import Kind
from todoctl.core.operators import merged

Object = dict[str, Any]
NAMESPACE = "todo"
_TLS = ssl.create_default_context()  # made once: it takes longer than a test
_PLURALS = {"configmaps", "statefulsets", "pods", "services", "secrets", "deployments", "ingresses", "nodes"}


@dataclass
class FakeCluster:
    """Objects by path; a selector fits when each of its labels does. `asked` has the path of every request.

    Kinds that are `forbidden` by their plural can't be read.
    """

    objects: dict[str, Object] = field(default_factory=dict)
    logs: dict[tuple[str, str], str] = field(default_factory=dict)
    on_patch: Callable[[Object], None] = lambda _document: None
    asked: list[str] = field(default_factory=list)
    forbidden: set[str] = field(default_factory=set)

    def add(self, kind: Kind, document: Object, *, namespace: str = NAMESPACE) -> Object:
        """Have an object."""
        document["metadata"].setdefault("namespace", namespace)
        self.objects[kind.path(namespace, str(document["metadata"]["name"]))] = document
        return document

    @property
    def kube(self) -> Kube:
        """A client of it."""
        return Kube(
            Access("test", "http://cluster.test", tls=_TLS), NAMESPACE, transport=httpx.MockTransport(self._answer)
        )

    def _answer(self, request: httpx.Request) -> httpx.Response:
        path, query = request.url.path, request.url.params
        self.asked.append(path)
        if self.forbidden & set(path.split("/")):
            return httpx.Response(403, json={"message": f'User "ann" cannot read {path}'})
        if path.endswith("/log"):
            pod, container = path.split("/")[-2], str(query["container"])
            if (pod, container) not in self.logs:
                return httpx.Response(400, json={"message": f"container {container} is waiting to start"})
            return httpx.Response(200, text=self.logs[pod, container])
        if path in self.objects:
            found = self.objects[path]
            if request.method == "PATCH":
                found = self.objects[path] = merged(found, json.loads(request.content))
                self.on_patch(found)
            return httpx.Response(200, json=found)
        below = [item for key, item in self.objects.items() if key.rpartition("/")[0] == path]
        if not below and path.rpartition("/")[2] not in _PLURALS:
            return httpx.Response(404, json={"message": f"{path} not found"})
        wanted = dict(part.split("=") for part in query.get("labelSelector", "").split(",") if part)
        fitting = [item for item in below if wanted.items() <= (item["metadata"].get("labels") or {}).items()]
        return httpx.Response(200, text=json.dumps({"metadata": {}, "items": fitting}))


def pod(
    name: str,
    component: str,
    *,
    ready: bool = True,
    restarts: int = 0,
    waiting: str = "",
    created: str = "2026-01-01T00:00:00Z",
    containers: tuple[str, ...] = ("app", "daprd"),
) -> Object:
    """A pod of a component of the chart."""
    state = {"waiting": {"reason": waiting}} if waiting else {"running": {"startedAt": created}}
    status = {"ready": ready, "restartCount": restarts, "state": state}
    labels = {"app.kubernetes.io/name": "todo", "app.kubernetes.io/component": component}
    return {
        "metadata": {
            "name": name,
            "creationTimestamp": created,
            "labels": {**labels, "app.kubernetes.io/version": "0.1.0"},
        },
        "spec": {"containers": [{"name": item, "image": f"localhost:5000/{item}:1.2"} for item in containers]},
        "status": {
            "phase": "Running",
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "containerStatuses": [{"name": item, **status} for item in containers],
        },
    }
