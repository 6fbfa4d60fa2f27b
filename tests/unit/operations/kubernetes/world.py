"""A namespace that lives, with a Helm that applies objects one by one, and who releases into it.

Whoever changes it may be killed at any step.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from tests.unit.operations.kubernetes.cluster import NAMESPACE
from tests.unit.operations.kubernetes.living import KINDS, STRIMZI, LivingNamespace, Object, path_of, release
from tests.unit.sites import CHART
from todoctl.adapters import helm
from todoctl.adapters.chart import read_values
from todoctl.adapters.helm import Helm, Upgrade
from todoctl.adapters.kube.kinds import CONFIG_MAPS, DEPLOYMENTS, PODS, SERVICES, Kind
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

MANIFEST = Manifest(
    app_version="0.1.0",
    database=DatabaseNeeds(needs="0004", oldest="0003", migrations=()),
    events=EventNeeds(writes="1.0", reads=("1",), schemas={}),
)
# With an operator for the broker, so that nobody asks one for its topics.
VALUES = read_values(CHART, (CHART / "values-local.yaml",))
_ORDER: tuple[Kind, ...] = (CONFIG_MAPS, SERVICES, DEPLOYMENTS, *STRIMZI.values())  # Helm's own


@dataclass
class World(LivingNamespace):
    """The namespace with its Helm."""

    known: list[tuple[helm.Release, list[Object]]] = field(default_factory=list)
    seconds: float = 30.0  # that a part may take
    as_time_passes: Callable[[float], None] = lambda _now: None

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
            for item in (item for item in objects if KINDS[item["kind"]] == kind):
                self.add(kind, self._merged(copy.deepcopy(item)), namespace=item["metadata"]["namespace"])
                self.live()
                self.step(f"helm applied {item['kind']} {item['metadata']['name']}")
        wanted = {path_of(item) for item in objects}
        for item in before:
            if path_of(item) not in wanted and self.objects.pop(path_of(item), None):
                self.live()
                self.step(f"helm removed {item['metadata']['name']}")
        self.known = [(_in_state(item, "superseded"), kept) for item, kept in self.known[:-1]] + [self.known[-1]]
        self.known[-1] = (_in_state(self.known[-1][0], "deployed"), self.known[-1][1])
        self.step("helm is done")
        return self.known[-1][0]

    def _merged(self, item: Object) -> Object:
        """With what others than Helm have noted on the object and its pods, which it leaves alone."""
        there = self.objects.get(path_of(item), {})
        if item["kind"] in STRIMZI:
            before = there.get("metadata", {}).get("generation", 0)
            item["metadata"]["generation"] = before + (there.get("spec") != item["spec"])
            item |= {"status": there["status"]} if "status" in there else {}
        stamp = there.get("spec", {}).get("template", {}).get("metadata", {}).get("annotations", {}).get(RESTARTED)
        if stamp is not None:
            item["spec"]["template"]["metadata"]["annotations"][RESTARTED] = stamp
        return item

    # As much of a platform as is used.
    @property
    def reach(self) -> World:
        return self

    def pod(self, name: str, port: int) -> str:
        assert port == 3500
        return f"127.0.0.1:{[found for found, _ in self.below(PODS)].index(name)}"

    def close(self) -> None:
        """Nothing is open."""

    # Who works on it.
    @property
    def revisions(self) -> Revisions:
        """As todoctl sees them."""
        now = [0.0]

        def pass_by(pause: float) -> None:
            now[0] += pause
            self.as_time_passes(now[0])

        clock = Clock(lambda: now[0], pass_by)
        kube, where = self.kube, Path("/proc/nowhere")  # no evidence can be written
        return Revisions(
            kube,
            cast("Helm", _Helm(self)),
            clock,
            Records(kube, RELEASE),
            lambda _: cast("ClusterPlatform", self),
            where,
            "ann@desk",
            self.seconds,
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


def _in_state(item: helm.Release, status: str) -> helm.Release:
    return helm.Release(**{**vars(item), "status": status})
