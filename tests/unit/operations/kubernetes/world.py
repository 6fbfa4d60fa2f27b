"""A namespace that lives: Helm applies objects one by one, pods come and go with templates and take work once they are on.

Whoever changes it may be killed at any step. What holds at every moment of a switch is checked at every change.
"""

from __future__ import annotations

import base64
import copy
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import httpx

from tests.unit.operations.kubernetes.cluster import NAMESPACE, FakeCluster, pod
from tests.unit.sites import CHART
from todoctl.adapters import helm
from todoctl.adapters.chart import read_values
from todoctl.adapters.helm import Helm, Upgrade
from todoctl.adapters.kube.kinds import CONFIG_MAPS, DEPLOYMENTS, PODS, REPLICA_SETS, SECRETS, SERVICES, Kind
from todoctl.core.colours import Colour, other
from todoctl.core.releases import DatabaseNeeds, EventNeeds, Manifest, deployed
from todoctl.operations.kubernetes.change import ClusterChange
from todoctl.operations.kubernetes.platform import ClusterPlatform
from todoctl.operations.kubernetes.records import Records
from todoctl.operations.kubernetes.restart import RESTARTED
from todoctl.operations.kubernetes.revisions import RELEASE, Beside, Candidate, Revisions
from todoctl.operations.kubernetes.serving import Serving, serving
from todoctl.operations.operators.site import Clock
from todoctl.operations.releases import Plan

Object = dict[str, Any]
NAMES = ("api", "audit")
MANIFEST = Manifest(
    app_version="0.1.0",
    database=DatabaseNeeds(needs="0004", oldest="0003", migrations=()),
    events=EventNeeds(writes="1.0", reads=("1",), schemas={}),
)
# With an operator for the broker, so that nobody asks one for its topics.
VALUES = read_values(CHART, (CHART / "values-local.yaml",))
_ORDER: tuple[Kind, ...] = (CONFIG_MAPS, SERVICES, DEPLOYMENTS)  # Helm's own
_KINDS = {"ConfigMap": CONFIG_MAPS, "Service": SERVICES, "Deployment": DEPLOYMENTS}


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
        "apiVersion": _KINDS[kind].api,
        "kind": kind,
        "metadata": {"name": name, "labels": every, "namespace": NAMESPACE},
        **content,
    }


@dataclass
class World(FakeCluster):
    """The namespace, its Helm, and who works on it until `kill_at` steps are done."""

    kill_at: int | None = None
    steps: list[str] = field(default_factory=list)
    known: list[tuple[helm.Release, list[Object]]] = field(default_factory=list)
    on: set[str] = field(default_factory=set)  # pods whose sidecars were turned on; nothing turns one off
    may_serve: set[str] = field(default_factory=set)
    deaf: str = ""  # a colour whose sidecars pass nothing on

    def __post_init__(self) -> None:
        self.add(SECRETS, {"metadata": {"name": "todo-dapr-token"}, "data": {"token": base64.b64encode(b"t").decode()}})

    # The API server.
    def _answer(self, request: httpx.Request) -> httpx.Response:
        path, method = request.url.path, request.method
        if path in {"/api/v1", "/apis/apps/v1"}:
            kinds = [{"name": kind.plural, "kind": name, "namespaced": True} for name, kind in _KINDS.items()]
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

    # Helm.
    def history(self, _name: str, _namespace: str) -> list[helm.Release]:
        return [item for item, _ in self.known]

    def release(self, _name: str, _namespace: str) -> helm.Release | None:
        return self.known[-1][0] if self.known else None

    def objects_of(self, revision: int) -> list[Object]:
        return copy.deepcopy(next(objects for item, objects in self.known if item.revision == revision))

    def upgrade(self, wanted: Upgrade) -> helm.Release:
        return self._apply(list(wanted.values["objects"]), "pending-upgrade")

    def rollback(self, _name: str, _namespace: str, revision: int, *, seconds: int) -> None:
        assert seconds > 0
        self._apply(self.objects_of(revision), "pending-rollback")

    def _apply(self, objects: list[Object], state: str) -> helm.Release:
        self.step("helm begins")
        before = self.known[-1][1] if self.known else []
        row = helm.Release(RELEASE, NAMESPACE, len(self.known) + 1, state, "todo-2.0.0", "0.1.0", "2026-11-26 11:00:00")
        self.known.append((row, copy.deepcopy(objects)))
        self.step("helm has written its record")
        for kind in _ORDER:
            for item in (item for item in objects if _KINDS[item["kind"]] == kind):
                self.add(kind, self._merged(copy.deepcopy(item)))
                self.live()
                self.step(f"helm applied {item['kind']} {item['metadata']['name']}")
        wanted = {_path(item) for item in objects}
        for item in before:
            if _path(item) not in wanted and self.objects.pop(_path(item), None):
                self.live()
                self.step(f"helm removed {item['metadata']['name']}")
        self.known = [(_in_state(item, "superseded"), kept) for item, kept in self.known[:-1]] + [self.known[-1]]
        self.known[-1] = (_in_state(self.known[-1][0], "deployed"), self.known[-1][1])
        self.step("helm is done")
        return self.known[-1][0]

    def _merged(self, item: Object) -> Object:
        """With what others than Helm have noted on the object's pods, which it leaves alone."""
        there = self.objects.get(_path(item), {}).get("spec", {}).get("template", {})
        stamp = there.get("metadata", {}).get("annotations", {}).get(RESTARTED)
        if stamp is not None:
            item["spec"]["template"]["metadata"]["annotations"][RESTARTED] = stamp
        return item

    # Controllers, kubelets and sidecars.
    def live(self) -> None:
        """What follows from the objects: pods of each Deployment's template, which are on once their colour is."""
        wanted = {path: item for path, item in self.objects.items() if item.get("kind") == "Deployment"}
        for name, item in list(self._below(PODS)):
            owner = wanted.get(DEPLOYMENTS.path(NAMESPACE, item["of"]))
            if owner is None or item["template"] != owner["spec"]["template"]:
                del self.objects[PODS.path(NAMESPACE, name)]
                self.on.discard(name)
        for item in wanted.values():
            item["metadata"] |= {"uid": str(item["metadata"]["name"]), "generation": 1}
            item["status"] = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}
            if not any(found["of"] == item["metadata"]["name"] for _, found in self._below(PODS)):
                self._start(item)
        switch = self.objects.get(CONFIG_MAPS.path(NAMESPACE, "colours"), {"data": {}})["data"]
        self.on |= {
            name for name, item in self._below(PODS) if switch.get(item["metadata"]["labels"]["colour"]) == "on"
        }
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
                for found, item in self._below(PODS)
                if item["metadata"]["labels"]["colour"] == led and found.startswith(name) and found in self.on
            ]
            assert mine, f"{name} has no pod of {led} that works; {self.steps[-5:]}"
            code = {item["template"]["metadata"]["annotations"]["code"] for item in mine}
            assert code <= self.may_serve, f"{name} is served by {code}; {self.steps[-5:]}"

    def _below(self, kind: Kind) -> Iterator[tuple[str, Object]]:
        where = kind.path(NAMESPACE) + "/"
        return ((path.removeprefix(where), item) for path, item in list(self.objects.items()) if path.startswith(where))

    # As much of a platform as is used.
    @property
    def reach(self) -> World:
        return self

    def pod(self, name: str, port: int) -> str:
        assert port == 3500
        return f"127.0.0.1:{[found for found, _ in self._below(PODS)].index(name)}"

    def close(self) -> None:
        """Nothing is open."""

    def takes_calls(self, port: int, token: str, app_id: str) -> bool:
        """What a pod's sidecar answers."""
        name = [found for found, _ in self._below(PODS)][port]
        assert (token, name.startswith(app_id)) == ("t", True)
        return name in self.on and self.objects[PODS.path(NAMESPACE, name)]["metadata"]["labels"]["colour"] != self.deaf

    # Who works on it.
    @property
    def revisions(self) -> Revisions:
        """As todoctl sees them."""
        now = [0.0]
        clock = Clock(lambda: now[0], lambda pause: now.__setitem__(0, now[0] + pause))
        kube, where = self.kube, Path("/proc/nowhere")  # no evidence can be written
        return Revisions(
            kube,
            cast("Helm", _Helm(self)),
            clock,
            Records(kube, RELEASE),
            lambda _: cast("ClusterPlatform", self),
            where,
            "ann@desk",
            30.0,
            self.takes_calls,
        )

    def change(
        self, objects: Sequence[Object], *, beside: Sequence[Object] = (), back: int | None = None
    ) -> ClusterChange:
        """A release in the making: of new objects, with a step before it where the other colour is made ready; or back."""
        revisions = self.revisions
        first = Beside(_upgrade(beside), beside) if beside else None
        candidate = Candidate(VALUES, objects, MANIFEST, None if back else _upgrade(objects), first)
        running = deployed(revisions.history())
        plan = Plan("rollback" if back else "deploy", running.revision if running else None, back, (), ())
        return ClusterChange(revisions, plan, candidate)

    def deploy(self, active: Colour, **pods: str) -> None:
        """A release, to its end: by a switch where its colour is not the one that serves."""
        objects = release(active, **pods)
        kept = pods.get(other(active))
        switches = bool(self.known) and kept is not None and self.serving.colour != active
        beside = release(other(active), **pods) if switches else ()
        self.do(self.change(objects, beside=beside))

    def go_back(self, revision: int) -> None:
        """The rollback, to its end."""
        self.do(self.change(self.objects_of(revision), back=revision))

    def do(self, change: ClusterChange) -> None:
        """Carry it out."""
        for _ in change.carry_out(None):
            pass

    @property
    def serving(self) -> Serving:
        """What status says."""
        return serving(self.kube)

    @property
    def working(self) -> set[str]:
        """The colours that have a pod which takes events, jobs and calls."""
        return {item["metadata"]["labels"]["colour"] for name, item in self._below(PODS) if name in self.on}


@dataclass
class _Helm:
    """As pyhelm3 is asked."""

    world: World

    def __getattr__(self, name: str) -> Any:
        return getattr(self.world, name)

    def objects(self, _name: str, _namespace: str, *, revision: int) -> list[Object]:
        return self.world.objects_of(revision)

    def values(self, _name: str, _namespace: str, *, revision: int, every: bool) -> Object:
        assert revision
        assert every
        return VALUES.model_dump(mode="json", by_alias=True)


def _upgrade(objects: Sequence[Object]) -> Upgrade:
    return Upgrade(RELEASE, NAMESPACE, Path("/nowhere"), {"objects": objects})


def _path(item: Object) -> str:
    return _KINDS[item["kind"]].path(NAMESPACE, str(item["metadata"]["name"]))


def _in_state(item: helm.Release, status: str) -> helm.Release:
    return helm.Release(**{**vars(item), "status": status})


def _applies(request: httpx.Request) -> bool:
    return "fieldManager" in urlsplit(str(request.url)).query
