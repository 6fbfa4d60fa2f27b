"""What an install would do to a cluster, and whether the cluster can take it. Nothing is changed here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from todoctl.adapters.helm import Release, Upgrade
from todoctl.adapters.kube.answers import KubeError
from todoctl.adapters.kube.kinds import DEFINITIONS, NODES, PODS, Kind
from todoctl.adapters.operator_charts import ChartFolder
from todoctl.core import cluster_checks
from todoctl.core.cluster_checks import Checked
from todoctl.core.operators import Wanted, default_values, merged, placed
from todoctl.errors import MissingError, RefusedError, TodoctlError
from todoctl.operations.operators import site as sites
from todoctl.operations.operators.site import Document, Site

ALL_PODS = Kind(PODS.api, PODS.plural, is_namespaced=False)
_CLASSES = Kind("storage.k8s.io/v1", "storageclasses", is_namespaced=False)
_RIGHTS = "rights"


@dataclass(frozen=True)
class Asked:
    """What a person asked for: the operator with its chart, values, and what to do with what is in the way."""

    wanted: Wanted
    chart: ChartFolder
    take_over: bool = False

    @property
    def upgrade(self) -> Upgrade:
        """As Helm takes it."""
        operator = self.wanted.operator
        return Upgrade(
            operator.release,
            operator.namespace,
            self.chart.path,
            self.wanted.values,
            self.wanted.description,
            take_ownership=self.take_over,
        )


@dataclass(frozen=True)
class Action:
    """One thing that an install or uninstall would do."""

    change: str  # create, change, remove, keep, none
    kind: str
    name: str
    detail: str = ""


@dataclass(frozen=True)
class Plan:
    """What an install would do, and the checks that say whether it may."""

    asked: Asked
    release: Release | None
    checks: tuple[Checked, ...]
    actions: tuple[Action, ...]

    @property
    def changes(self) -> tuple[Action, ...]:
        """What would not stay as it is."""
        return tuple(action for action in self.actions if action.change != "none")

    def document(self) -> Document:
        """The plan as JSON shows it."""
        operator = self.asked.wanted.operator
        return {
            "operator": operator.name,
            "namespace": operator.namespace,
            "release": operator.release,
            "chart": {"version": self.asked.wanted.version, **asdict(self.asked.wanted.source)},
            "installed": asdict(self.release) if self.release else None,
            "checks": [asdict(check) for check in self.checks],
            "actions": [asdict(action) for action in self.actions],
        }

    def require_free(self) -> None:
        """Return when no check failed.

        Raises:
            MissingError: rights are missing.
            RefusedError: another check failed.
        """
        failed = [check for check in self.checks if check.verdict == "fail"]
        if not failed:
            return
        kind = MissingError if any(check.check == _RIGHTS for check in failed) else RefusedError
        name = self.asked.wanted.operator.name
        raise kind(
            f"{name} is not installed: {len(failed)} of {len(self.checks)} checks failed",
            detail=tuple(f"{check.check}: {check.seen}" for check in failed),
            hint=next((check.fix for check in failed if check.fix), "todoctl doctor"),
        )


def ask(
    site: Site, name: str, source: Any, chart: ChartFolder, given: Mapping[str, Any], *, fresh: bool, available: bool
) -> Wanted:
    """What the release is to become: our values, below those that it has (unless `fresh`), below those that are given."""
    operator = sites.operator(name)
    release = site.helm.release(operator.release, operator.namespace)
    kept = site.helm.values(operator.release, operator.namespace) if release and not fresh else {}
    # How many replicas and how large their disks are is decided once: Dapr's sets can't be changed in that.
    values = merged(default_values(operator, is_available=available and release is None), kept, given)
    definitions = tuple(placed(item, operator.namespace) for item in chart.definitions())
    return Wanted(operator, chart.about["version"], values, definitions, chart.digest(), source)


def plan(site: Site, asked: Asked) -> Plan:
    """Look at the cluster, and say what an install would do there.

    Raises:
        UsageError: the values do not fit the chart.
        RefusedError: an earlier attempt was killed in the middle, or is at work.
    """
    wanted = asked.wanted
    release = site.helm.release(wanted.operator.release, wanted.operator.namespace)
    if release is not None and release.is_pending:
        raise pending(release, wanted.operator.name)
    objects = site.helm.rendered(asked.upgrade, is_upgrade=release is not None)
    there = {item["metadata"]["name"]: item for item in site.kube.items(DEFINITIONS)}
    looks: dict[str, Callable[[], Checked]] = {
        "Kubernetes": lambda: cluster_checks.version(site.kube.version(), sites.pin_of(wanted.operator).kubernetes),
        "version": partial(_version, wanted),
        _RIGHTS: partial(_rights, site, asked, objects),
        "stored versions": lambda: cluster_checks.storage_versions(wanted.definitions, there),
        "leftovers": partial(_leftovers, site, asked, objects),
    }
    if release is None:
        looks["room"] = partial(_room, site, objects)
        looks["disks"] = lambda: cluster_checks.disks(objects, site.kube.items(_CLASSES))
    checks = tuple(_checked(name, look) for name, look in looks.items())
    actions = (*_definition_actions(site, wanted, there, may_ask=checks), _release_action(site, asked, release))
    return Plan(asked, release, checks, actions)


def pending(release: Release, name: str) -> RefusedError:
    """The error for a release that somebody is, or was, in the middle of."""
    return RefusedError(
        f"the release {release.name} in {release.namespace} is {release.status} since {release.updated}: "
        "somebody is at work, or was killed at it",
        hint=f"todoctl install {name} --unlock forgets that attempt, when nobody is",
    )


def _checked(name: str, look: Callable[[], Checked]) -> Checked:
    """A check; one that could not look has failed."""
    try:
        return look()
    except TodoctlError as error:
        return Checked(name, "fail", f"could not look: {error.message}", error.hint)


def _version(wanted: Wanted) -> Checked:
    pinned = sites.pin_of(wanted.operator).version
    if wanted.version == pinned:
        return Checked("version", "ok", f"chart {pinned}")
    seen = f"chart {wanted.version}, this todoctl was made for {pinned}"
    return Checked("version", "warn", seen, f"use the chart {pinned}, or see that what it brings fits")


def _rights(site: Site, asked: Asked, objects: list[Document]) -> Checked:
    """Whether we may make and change every kind of object that is in the chart."""
    namespace, lost = asked.wanted.operator.namespace, []
    brought = {
        (f"{item['spec']['group']}/{version['name']}", item["spec"]["names"]["kind"])
        for item in asked.wanted.definitions
        for version in item["spec"]["versions"]
    }
    kinds = {(str(item["apiVersion"]), str(item["kind"])) for item in objects} - brought
    kinds |= {("v1", "Secret"), (DEFINITIONS.api, "CustomResourceDefinition")}
    for api, name in sorted(kinds):
        try:
            kind = site.kube.kind(api, name)
        except KubeError:
            return Checked(_RIGHTS, "fail", f"the cluster has no kind {name} in {api}", "install what brings it first")
        lost += [
            f"{verb} {kind.plural}"
            for verb in ("create", "patch")
            if not site.kube.may(verb, kind, namespace=namespace)
        ]
    if lost:
        hint = f"ask whoever runs the cluster; kubectl auth can-i --list -n {namespace}"
        return Checked(_RIGHTS, "fail", f"you may not {', '.join(lost)}", hint)
    return Checked(_RIGHTS, "ok", f"{len(kinds)} kinds of objects may be made")


def _leftovers(site: Site, asked: Asked, objects: list[Document]) -> Checked:
    """Whether what the release would make is there already and not its own."""
    operator, found = asked.wanted.operator, []
    for item in objects:
        if "helm.sh/hook" in (item["metadata"].get("annotations") or {}):
            continue
        try:
            kind = site.kube.kind(str(item["apiVersion"]), str(item["kind"]))
        except KubeError:
            continue  # told by the rights, or brought by the chart itself
        home = item["metadata"].get("namespace") or operator.namespace
        there = site.kube.get(kind, item["metadata"]["name"], namespace=home)
        found += [{**there, "kind": item["kind"]}] if there else []
    if asked.take_over:
        return Checked("leftovers", "ok", "what is there is taken over")
    return cluster_checks.foreign(found, operator.release, operator.namespace)


def _room(site: Site, objects: list[Document]) -> Checked:
    nodes = site.kube.items(NODES)
    return cluster_checks.room(cluster_checks.needed(objects, len(nodes)), nodes, site.kube.items(ALL_PODS))


def _definition_actions(
    site: Site, wanted: Wanted, there: Mapping[str, Document], *, may_ask: tuple[Checked, ...]
) -> list[Action]:
    blocked = any(check.verdict == "fail" for check in may_ask)
    actions = []
    for definition in wanted.definitions:
        name = definition["metadata"]["name"]
        known = there.get(name)
        change = "create" if known is None else "none"
        # The server counts a generation up when what it was given differs from what it has.
        if (
            known is not None
            and not blocked
            and _generation(site.kube.apply(definition, dry_run=True)) != _generation(known)
        ):
            change = "change"
        served = ", ".join(item["name"] for item in definition["spec"]["versions"])
        actions.append(Action(change, "CustomResourceDefinition", name, served))
    return actions


def _generation(item: Document) -> int:
    return int(item["metadata"].get("generation", 0))


def _release_action(site: Site, asked: Asked, release: Release | None) -> Action:
    wanted, operator = asked.wanted, asked.wanted.operator
    name = f"{operator.namespace}/{operator.release}"
    if release is None:
        return Action("create", "Release", name, f"chart {wanted.version}")
    has = site.helm.values(operator.release, operator.namespace)
    if release.status != "deployed":
        return Action("change", "Release", name, f"its last revision is {release.status}")
    if release.description != wanted.description:
        return Action("change", "Release", name, f"{release.chart}, another chart than {wanted.version} as it is here")
    if has != wanted.values:
        return Action("change", "Release", name, f"values: {', '.join(_differing(has, wanted.values))}")
    return Action("none", "Release", name, f"chart {wanted.version}")


def _differing(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """The paths of values that differ."""
    found = []
    for key in sorted({*old, *new}):
        before, after = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found += _differing(before, after, f"{prefix}{key}.")
        elif before != after:
            found.append(f"{prefix}{key}")
    return found
