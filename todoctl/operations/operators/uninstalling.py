"""Taking an operator out of a cluster: refused while anything there depends on it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from todoctl.adapters.helm import Release
from todoctl.adapters.kube.answers import KubeError
from todoctl.adapters.kube.kinds import DEFINITIONS, NAMESPACES, Kind
from todoctl.core import cluster_checks
from todoctl.core.operators import INJECTED, Operator
from todoctl.errors import RefusedError
from todoctl.operations.operators import waiting
from todoctl.operations.operators.planning import ALL_PODS, Action, pending
from todoctl.operations.operators.site import Document, Site
from todoctl.operations.steps import StepEvent

_CLAIMS = Kind("v1", "persistentvolumeclaims")
_SHARED = frozenset({"default", "kube-system"})  # namespaces that are never removed


@dataclass(frozen=True)
class Removal:
    """What an uninstall would remove and keep, and what still depends on it."""

    operator: Operator
    release: Release | None
    actions: tuple[Action, ...]
    users: tuple[str, ...]

    @property
    def changes(self) -> tuple[Action, ...]:
        """What would be removed."""
        return tuple(action for action in self.actions if action.change == "remove")

    @property
    def kept(self) -> tuple[str, ...]:
        """What stays although nobody listed it, in words; nothing where its namespace goes, too."""
        with_namespace = any(action.kind == "Namespace" for action in self.changes)
        return self.operator.keeps if self.changes and not with_namespace else ()

    def document(self) -> Document:
        """The plan as JSON shows it."""
        return {
            "operator": self.operator.name,
            "namespace": self.operator.namespace,
            "release": self.operator.release,
            "installed": asdict(self.release) if self.release else None,
            "actions": [asdict(action) for action in self.actions],
            "users": list(self.users),
        }

    def require_unused(self) -> None:
        """Return when nothing depends on the operator.

        Raises:
            RefusedError: something does.
        """
        if self.users and self.changes:
            raise RefusedError(
                f"{self.operator.name} is not uninstalled: {len(self.users)} things in the cluster depend on it",
                detail=(*self.users[:20], *([f"and {len(self.users) - 20} more"] if len(self.users) > 20 else [])),
                hint="remove them first: our release with helm uninstall todo -n NAMESPACE, then what is left of these",
            )


def plan(site: Site, operator: Operator, *, purge: bool) -> Removal:
    """What an uninstall would do; `purge` takes definitions, disks and the namespace along.

    Raises:
        RefusedError: somebody is at work on the release, or was killed at it.
    """
    release = site.helm.release(operator.release, operator.namespace)
    if release is not None and release.is_pending and release.status != "uninstalling":
        raise pending(release, operator.name)
    definitions = _definitions(site, operator)
    actions = []
    if release is not None:
        kinds = Counter(item["kind"] for item in site.helm.objects(operator.release, operator.namespace))
        what = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        actions.append(Action("remove", "Release", f"{operator.namespace}/{operator.release}", what))
    change = "remove" if purge else "keep"
    actions += [Action(change, "CustomResourceDefinition", item["metadata"]["name"]) for item in definitions]
    for claim in _own_claims(site, operator):
        actions.append(Action(change, "PersistentVolumeClaim", f"{operator.namespace}/{claim}"))
    if operator.namespace not in _SHARED and site.kube.get(NAMESPACES, operator.namespace) is not None:
        actions.append(Action(change, "Namespace", operator.namespace))
    return Removal(operator, release, tuple(actions), tuple(_users(site, operator, definitions)))


def carry_out(site: Site, removal: Removal, *, seconds: float) -> Iterator[StepEvent]:
    """Remove what the plan says, in an order that leaves nothing without its controller. Yields how far it is.

    Raises:
        WaitTimeoutError: something was not gone in `seconds`; the same command goes on from there.
    """
    started = site.clock.now()
    deadline = started + seconds
    operator = removal.operator
    if removal.release is not None:
        yield StepEvent("release", "starting", "", 0.0)
        site.helm.uninstall(operator.release, operator.namespace, seconds=max(int(seconds), 1))
        yield StepEvent("release", "ready", "gone", site.clock.now() - started)
    kinds = {"CustomResourceDefinition": DEFINITIONS, "PersistentVolumeClaim": _CLAIMS, "Namespace": NAMESPACES}
    for name, kind in kinds.items():
        wanted = [action.name.rpartition("/")[2] for action in removal.changes if action.kind == name]
        if not wanted:
            continue
        for item in wanted:
            site.kube.delete(kind, item, namespace=operator.namespace)

        def left(kind: Kind = kind, wanted: list[str] = wanted) -> str:
            there = [item for item in wanted if site.kube.get(kind, item, namespace=operator.namespace)]
            return f"still there: {', '.join(there)}" if there else ""

        for missing in waiting.until(site.clock, deadline, left, name):
            yield StepEvent(name, "starting", missing, site.clock.now() - started)
        yield StepEvent(name, "ready", f"{len(wanted)} gone", site.clock.now() - started)


def _definitions(site: Site, operator: Operator) -> list[Document]:
    return [item for item in site.kube.items(DEFINITIONS) if item["spec"]["group"] in operator.groups]


def _users(site: Site, operator: Operator, definitions: list[Document]) -> Iterator[str]:
    """What depends on the operator: objects of its kinds that are not its own, and pods that carry a part of it."""
    for definition in definitions:
        spec = definition["spec"]
        stored = next(item["name"] for item in spec["versions"] if item["storage"])
        # Of all namespaces.
        kind = Kind(f"{spec['group']}/{stored}", spec["names"]["plural"], is_namespaced=False)
        names = [
            f"{meta.get('namespace', '')}/{meta['name']}".lstrip("/")
            for meta in _metas(site, kind)
            if not cluster_checks.is_of({"metadata": meta}, operator.release, operator.namespace)
            # What another object makes goes with it.
            and not meta.get("ownerReferences")
        ]
        yield from (f"{spec['names']['kind']} {name}" for name in names)
    if operator.injects:
        pods = _metas(site, ALL_PODS, selector=INJECTED)
        yield from (f"pod with a sidecar {meta['namespace']}/{meta['name']}" for meta in pods)


def _own_claims(site: Site, operator: Operator) -> list[str]:
    """The claims in a namespace that is the operator's alone."""
    if operator.namespace in _SHARED:
        return []
    try:
        return [item["metadata"]["name"] for item in site.kube.items(_CLAIMS, namespace=operator.namespace)]
    except KubeError:
        return []


def _metas(site: Site, kind: Kind, *, selector: str = "") -> list[Document]:
    return [dict(item["metadata"]) for item in site.kube.items(kind, selector=selector)]
