"""A namespace that lives: pods come and go with templates and take work once they are on.

What holds at every moment of a switch is checked at every change, and whoever changes it may be killed at any of them.
"""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx

from tests.unit.operations.kubernetes.cluster import NAMESPACE, FakeCluster, pod
from todoctl.adapters.kube.kinds import CONFIG_MAPS, DEPLOYMENTS, PODS, REPLICA_SETS, SECRETS, SERVICES, Kind
from todoctl.core.colours import Colour

Object = dict[str, Any]
NAMES = ("api", "audit")
STRIMZI = {
    kind: Kind("kafka.strimzi.io/v1", f"{kind.lower()}s")
    for kind in ("Kafka", "KafkaNodePool", "KafkaTopic", "KafkaUser")
}
KINDS = {"ConfigMap": CONFIG_MAPS, "Service": SERVICES, "Deployment": DEPLOYMENTS, **STRIMZI}


class KilledError(BaseException):
    """The process is gone: nothing of it runs any more."""


def release(active: Colour, **pods: str) -> list[Object]:
    """The objects of a release; for each colour that it has, the code that its pods run."""
    config = {"active": active} | {name: "on" if name == active else "off" for name in ("blue", "green")}
    found = [_object("ConfigMap", "colours", "colours", data=config)]
    for name in NAMES:
        selector = {"app.kubernetes.io/component": name, "colour": active}
        found.append(_object("Service", name, name, spec={"selector": selector}))
    for colour, code in pods.items():
        for name in NAMES:
            spec = {"replicas": 1, "template": {"metadata": {"annotations": {"code": code}}}}
            called = name if colour == "blue" else f"{name}-{colour}"
            found.append(_object("Deployment", called, name, {"colour": colour}, spec=spec))
    return found


def _object(kind: str, name: str, component: str, labels: dict[str, str] | None = None, **content: Any) -> Object:
    every = {"app.kubernetes.io/name": "todo", "app.kubernetes.io/component": component, **(labels or {})}
    return {
        "apiVersion": KINDS[kind].api,
        "kind": kind,
        "metadata": {"name": name, "labels": every, "namespace": NAMESPACE},
        **content,
    }


@dataclass
class LivingNamespace(FakeCluster):
    """The namespace, and who works on it until `kill_at` steps are done."""

    kill_at: int | None = None
    steps: list[str] = field(default_factory=list)
    on: set[str] = field(default_factory=set)  # pods whose sidecars were turned on; nothing turns one off
    may_serve: set[str] = field(default_factory=set)
    deaf: str = ""  # a colour whose sidecars pass nothing on

    def __post_init__(self) -> None:
        self.add(SECRETS, {"metadata": {"name": "todo-dapr-token"}, "data": {"token": base64.b64encode(b"t").decode()}})

    # The API server.
    def _answer(self, request: httpx.Request) -> httpx.Response:
        path, method = request.url.path, request.method
        if path in {"/api/v1", "/apis/apps/v1"}:
            kinds = [{"name": kind.plural, "kind": name, "namespaced": True} for name, kind in KINDS.items()]
            return httpx.Response(200, json={"resources": kinds})
        if method == "GET" or (method == "PATCH" and path not in self.objects and not _applies(request)):
            return super()._answer(request)
        self.step(f"{method} {path.rpartition('/')[2]}")
        if method == "DELETE":
            there = self.objects.pop(path, None)
            self.live()
            self.step("")
            return httpx.Response(200 if there else 404, json={"message": "not found"})
        if path not in self.objects or _applies(request):
            self.objects[path] = json.loads(request.content)
            answer = httpx.Response(200, json=self.objects[path])
        else:
            answer = super()._answer(request)
        self.live()
        self.step("")
        return answer

    def step(self, what: str) -> None:
        """Something is about to be done (or, without a name, is done): who does it may be killed just then."""
        self.steps.append(what or f"after {self.steps[-1]}")
        if self.kill_at is not None and len(self.steps) > self.kill_at:
            raise KilledError(self.steps[-1])

    # Controllers, kubelets and sidecars.
    def live(self) -> None:
        """What follows from the objects: pods of each Deployment's template, which are on once their colour is."""
        wanted = {path: item for path, item in self.objects.items() if item.get("kind") == "Deployment"}
        for name, item in list(self.below(PODS)):
            owner = wanted.get(DEPLOYMENTS.path(NAMESPACE, item["of"]))
            if owner is None or item["template"] != owner["spec"]["template"]:
                del self.objects[PODS.path(NAMESPACE, name)]
                self.on.discard(name)
        for item in wanted.values():
            item["metadata"] |= {"uid": str(item["metadata"]["name"]), "generation": 1}
            item["status"] = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}
            if not any(found["of"] == item["metadata"]["name"] for _, found in self.below(PODS)):
                self._start(item)
        switch = self.objects.get(CONFIG_MAPS.path(NAMESPACE, "colours"), {"data": {}})["data"]
        self.on |= {name for name, item in self.below(PODS) if switch.get(item["metadata"]["labels"]["colour"]) == "on"}
        self._check()

    def _start(self, item: Object) -> None:
        name, labels = str(item["metadata"]["name"]), item["metadata"]["labels"]
        number = sum(step.startswith("pod ") for step in self.steps)
        made = pod(
            f"{name}-{number}",
            str(labels["app.kubernetes.io/component"]),
        )
        made["metadata"]["labels"] |= {"colour": labels["colour"]}
        made["metadata"]["ownerReferences"] = [{"uid": f"{name}-set"}]
        made |= {"of": name, "template": copy.deepcopy(item["spec"]["template"])}
        owned = {"name": f"{name}-set", "uid": f"{name}-set", "ownerReferences": [{"uid": name}]}
        self.add(REPLICA_SETS, {"metadata": owned})
        self.add(PODS, made)
        self.steps.append(f"pod {made['metadata']['name']}")

    def _check(self) -> None:
        """No request without a pod that works, of a release that was meant to; no event that nobody takes."""
        for name in NAMES:
            service = self.objects.get(SERVICES.path(NAMESPACE, name))
            if service is None or not self.may_serve:
                continue
            led = service["spec"]["selector"]["colour"]
            mine = [
                item
                for found, item in self.below(PODS)
                if item["metadata"]["labels"]["colour"] == led and found.startswith(name) and found in self.on
            ]
            assert mine, f"{name} has no pod of {led} that works; {self.steps[-5:]}"
            code = {item["template"]["metadata"]["annotations"]["code"] for item in mine}
            assert code <= self.may_serve, f"{name} is served by {code}; {self.steps[-5:]}"

    def takes_calls(self, port: int, token: str, app_id: str) -> bool:
        """What a pod's sidecar answers."""
        name = [found for found, _ in self.below(PODS)][port]
        assert (token, name.startswith(app_id)) == ("t", True)
        return name in self.on and self.objects[PODS.path(NAMESPACE, name)]["metadata"]["labels"]["colour"] != self.deaf

    @property
    def working(self) -> set[str]:
        """The colours that have a pod which takes events, jobs and calls."""
        return {item["metadata"]["labels"]["colour"] for name, item in self.below(PODS) if name in self.on}

    def below(self, kind: Kind) -> Iterator[tuple[str, Object]]:
        """The name of each object of a kind, with it."""
        where = kind.path(NAMESPACE) + "/"
        return ((path.removeprefix(where), item) for path, item in list(self.objects.items()) if path.startswith(where))


def path_of(item: Object) -> str:
    """Where the server has it."""
    return KINDS[item["kind"]].path(item["metadata"]["namespace"], str(item["metadata"]["name"]))


def _applies(request: httpx.Request) -> bool:
    return "fieldManager" in urlsplit(str(request.url)).query
