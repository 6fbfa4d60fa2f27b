"""Installing and uninstalling operators: what is decided before anything changes, the order of it, and how it ends."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.unit.operations.clusters import Charts, Object, Server, Time, deployment, pod, site
from todoctl.core.operators import OPERATORS, Source
from todoctl.errors import MissingError, RefusedError, UnhealthyError, WaitTimeoutError
from todoctl.operations.operators import installing, planning, sidecars, uninstalling
from todoctl.operations.operators.planning import Asked, Plan
from todoctl.operations.operators.site import Site

DAPR = OPERATORS["dapr"]
IMAGE = "registry.test/daprd:1.16.1"
DEFINITION: Object = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "components.dapr.io"},
    "spec": {
        "group": "dapr.io",
        "names": {"plural": "components", "kind": "Component"},
        "versions": [{"name": "v1alpha1", "storage": True}],
    },
}
PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/components.dapr.io"
ROLE: Object = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "dapr"}}
OPERATOR: Object = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "dapr-operator"},
    "spec": {"replicas": 1, "template": {"spec": {"containers": []}}},
}


class Folder:
    """A chart as far as a plan reads it."""

    path = "chart"
    about = {"name": "dapr", "version": "1.16.19"}  # noqa: RUF012 - never changed

    def __init__(self, *definitions: Object, digest: str = "abc") -> None:
        self._definitions, self._digest = definitions, digest

    def definitions(self) -> tuple[Object, ...]:
        """Those of the chart."""
        return self._definitions

    def digest(self) -> str:
        """Which content it has."""
        return self._digest


def _injecting(item: Object) -> tuple[int, Object]:
    """An admission that puts a sidecar into pods."""
    if item["kind"] == "Pod":
        item["spec"]["containers"].append({"name": "daprd"})
    return 200, item


@dataclass
class World:
    """A cluster without Dapr, that will have it once Helm is asked."""

    server: Server = field(default_factory=lambda: Server(admission=_injecting))
    time: Time = field(default_factory=Time)
    chart: Any = field(default_factory=lambda: Folder(DEFINITION))

    def __post_init__(self) -> None:
        node = {"cpu": "2", "memory": "4Gi", "pods": "10"}
        self.server.put("/api/v1/nodes/one", spec={}, status={"allocatable": node})
        self.helm = Charts(self.server, [OPERATOR, ROLE], after=self.grows)

    def grows(self) -> None:
        """What the cluster does after Helm."""
        deployment(self.server, "dapr-operator")

    @property
    def site(self) -> Site:
        return site(self.server, self.helm, self.time)

    def plan(self, *, fresh: bool = False, take_over: bool = False, **given: Any) -> Plan:
        """The plan for these values."""
        source = Source("chart", "x")
        wanted = planning.ask(self.site, "dapr", source, self.chart, given, fresh=fresh, available=True)
        return planning.plan(self.site, Asked(wanted, self.chart, take_over))

    def install(self, *, seconds: float = 60, **given: Any) -> list[tuple[str, str]]:
        """All of it; gives the steps with their states."""
        plan = self.plan(**given)
        plan.require_free()
        events = installing.carry_out(self.site, plan, seconds=seconds)
        return list(dict.fromkeys((event.name, event.state) for event in events))


@pytest.fixture
def world() -> World:
    """A cluster without Dapr."""
    return World()


def test_definitions_come_first_and_webhooks_last(world: World) -> None:
    """Each is proven before what needs it."""
    assert [name for name, state in world.install() if state == "ready"] == [
        "definitions",
        "release",
        "pods",
        "webhooks",
    ]
    assert world.server.writes == [f"PATCH {PATH}"]


def test_again_there_is_nothing_to_do_but_to_prove(world: World) -> None:
    """Neither definitions nor release are touched; a pod that died in between is seen."""
    world.install()
    world.server.writes.clear()
    assert [name for name, _ in world.install()] == ["definitions", "definitions", "pods", "webhooks"]
    assert (world.server.writes, len(world.helm.upgrades)) == ([], 1)
    deployment(world.server, "dapr-operator", ready=0)
    with pytest.raises(WaitTimeoutError, match="dapr-operator: 0 of 1 pods are new and ready"):
        world.install()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda world: setattr(world, "chart", Folder(DEFINITION, digest="other")), "another chart than"),
        (lambda world: world.helm.given.update(more=1), ""),
        (lambda world: setattr(world.helm, "current", replace(world.helm.current, status="failed")), "is failed"),
    ],
)
def test_what_differs_is_named(world: World, change: Any, said: str) -> None:
    """Another content of the same version, a failed revision; values that were given stay and are no difference."""
    world.install()
    change(world)
    details = [action.detail for action in world.plan().changes]
    assert (said in details[0]) if said else details == []


def test_values_stay_until_they_are_reset(world: World) -> None:
    """A registry that was named once needs not be named again."""
    world.install(registry="here")
    assert world.helm.given["registry"] == "here"
    world.install(tag="2")
    assert (world.helm.given["registry"], world.helm.given["tag"]) == ("here", "2")
    (action,) = world.plan(fresh=True).changes
    assert "registry" in action.detail


def test_replicas_and_disks_are_decided_when_it_is_new(world: World) -> None:
    """A release without them keeps none: Dapr's sets can't be changed in that."""
    world.install()
    assert world.helm.given["global"]["ha"] == {"enabled": True}
    del world.helm.given["global"]["ha"]
    assert "ha" not in world.plan().asked.wanted.values["global"]


def _old_definition(world: World) -> None:
    world.server.put(PATH, **DEFINITION | {"status": {"storedVersions": ["v0"]}})


@pytest.mark.parametrize(
    ("spoil", "error", "said"),
    [
        (lambda world: world.server.forbidden.add(("create", "clusterroles")), MissingError, "create clusterroles"),
        (_old_definition, RefusedError, "stored as v0"),
        (
            lambda world: world.server.put("/apis/rbac.authorization.k8s.io/v1/clusterroles/dapr"),
            RefusedError,
            "ClusterRole dapr (of no release)",
        ),
        (
            lambda world: world.helm.makes.append({**OPERATOR, "spec": {**OPERATOR["spec"], "replicas": 99}}),
            RefusedError,
            "100 pods needed",
        ),
        (lambda world: world.helm.makes.append({**ROLE, "kind": "Unknown"}), MissingError, "no kind Unknown"),
    ],
)
def test_a_failed_check_changes_nothing(world: World, spoil: Any, error: type[Exception], said: str) -> None:
    """Rights are exit 9, the rest 8; all checks are run and told."""
    spoil(world)
    plan = world.plan()
    assert len(plan.checks) == 7
    with pytest.raises(error) as caught:
        plan.require_free()
    assert said in "\n".join(getattr(caught.value, "detail", ()))
    assert world.server.writes == []


def test_what_is_there_can_be_taken_over(world: World) -> None:
    """Helm is told so."""
    world.server.put("/apis/rbac.authorization.k8s.io/v1/clusterroles/dapr")
    plan = world.plan(take_over=True)
    plan.require_free()
    assert plan.asked.upgrade.take_ownership


def test_a_pending_release_is_refused_until_its_attempt_is_forgotten(world: World) -> None:
    """Nothing tells whether somebody is at work: a person decides."""
    world.install()
    assert world.helm.current
    world.helm.current = replace(world.helm.current, status="pending-upgrade", revision=2)
    with pytest.raises(RefusedError, match="is pending-upgrade since now") as caught:
        world.plan()
    assert "--unlock" in caught.value.hint
    assert "revision 2" in installing.forget_attempt(world.site, world.helm.current)
    assert world.server.writes[-1].endswith("/namespaces/dapr-system/secrets/sh.helm.release.v1.dapr.v2")


def test_waiting_ends_early_when_it_is_in_vain(world: World) -> None:
    """The pod, its container and the reason; long before time is up."""

    def broken() -> None:
        deployment(world.server, "dapr-operator", ready=0)
        waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}
        pod(world.server, "dapr-operator", [{"name": "operator", "state": waiting}])

    world.helm.after = broken
    with pytest.raises(UnhealthyError) as caught:
        world.install(seconds=600)
    assert "dapr-system/dapr-operator-1-x won't get ready: operator: ImagePullBackOff" in caught.value.message
    assert world.time.seconds < 5


def test_pods_of_an_older_template_do_not_count(world: World) -> None:
    """One that crashed before the upgrade that mends it is about to go."""

    def mending() -> None:
        deployment(world.server, "dapr-operator", ready=0)
        pod(world.server, "dapr-operator", [{"name": "x", "state": {"waiting": {"reason": "ErrImageNeverPull"}}}])
        pod_path = "/api/v1/namespaces/dapr-system/pods/dapr-operator-1-x"
        world.server.objects[pod_path]["metadata"]["ownerReferences"][0]["uid"] = "an older set"
        world.time.at[3] = lambda: deployment(world.server, "dapr-operator") and None

    world.helm.after = mending
    assert ("pods", "ready") in world.install()


@pytest.mark.parametrize(
    ("admission", "said"),
    [
        (
            lambda _: (500, {"message": "failed calling webhook: connection refused"}),
            "sidecar injector: Kubernetes: failed",
        ),
        (lambda item: (200, item), "no daprd was put into a pod"),
    ],
)
def test_a_webhook_that_does_not_answer_is_no_success(world: World, admission: Any, said: str) -> None:
    """Neither one that refuses, nor one that is skipped."""
    world.server.admission = admission
    with pytest.raises(WaitTimeoutError, match=said):
        world.install()
    world.server.admission = _injecting
    world.install()


def _running(world: World, image: str) -> None:
    deployment(world.server, "api", namespace="todo")
    pod(world.server, "api", [], namespace="todo", image=image)


def test_older_sidecars_are_found_and_restarted(world: World) -> None:
    """By the image that the injector puts in now; the workload behind the ReplicaSet is what is restarted."""
    world.install()
    deployment(world.server, "dapr-sidecar-injector")
    path = "/apis/apps/v1/namespaces/dapr-system/deployments/dapr-sidecar-injector"
    variables = [{"name": "SIDECAR_IMAGE", "value": IMAGE}]
    world.server.objects[path]["spec"]["template"]["spec"]["containers"] = [{"env": variables}]
    _running(world, IMAGE)
    assert sidecars.older(world.site.kube, DAPR) == []
    _running(world, "registry.test/daprd:1.16.0")
    (found,) = sidecars.older(world.site.kube, DAPR)
    assert (found.kind, found.namespace, found.name, found.can_restart) == ("Deployment", "todo", "api", True)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    list(sidecars.restart(world.site.kube, [found], world.site.clock, now=now, seconds=10))
    assert world.server.writes[-1] == "PATCH /apis/apps/v1/namespaces/todo/deployments/api"


def test_uninstall_refuses_while_something_depends_on_it(world: World) -> None:
    """Objects of its kinds in any namespace, and pods with a sidecar; its own objects and what others own don't count."""
    world.install()
    home = "/apis/dapr.io/v1alpha1/namespaces"
    mine = {"meta.helm.sh/release-name": "dapr", "meta.helm.sh/release-namespace": "dapr-system"}
    world.server.put(f"{home}/dapr-system/components/own", metadata={"annotations": mine})
    world.server.put(f"{home}/todo/components/part", metadata={"ownerReferences": [{"uid": "x"}]})
    free = uninstalling.plan(world.site, DAPR, purge=False)
    assert free.users == ()
    world.server.put(f"{home}/todo/components/pubsub", metadata={"namespace": "todo"})
    _running(world, IMAGE)
    used = uninstalling.plan(world.site, DAPR, purge=False)
    assert used.users == ("Component todo/pubsub", "pod with a sidecar todo/api-1-x")
    with pytest.raises(RefusedError, match="2 things"):
        used.require_unused()
    assert world.helm.current


def test_uninstall_keeps_definitions_unless_it_purges(world: World) -> None:
    """And done again there is nothing to do."""
    world.install()
    kept = uninstalling.plan(world.site, DAPR, purge=False)
    list(uninstalling.carry_out(world.site, kept, seconds=10))
    assert (world.helm.current, PATH in world.server.objects) == (None, True)
    assert uninstalling.plan(world.site, DAPR, purge=False).changes == ()
    world.server.put("/api/v1/namespaces/dapr-system")
    purged = uninstalling.plan(world.site, DAPR, purge=True)
    assert {action.kind for action in purged.changes} == {"CustomResourceDefinition", "Namespace"}
    list(uninstalling.carry_out(world.site, purged, seconds=10))
    assert PATH not in world.server.objects
