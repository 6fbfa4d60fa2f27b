"""Whether a cluster can take an operator: judged from documents as the server has them, before anything is changed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Document = Mapping[str, Any]
Verdict = Literal["ok", "warn", "fail"]

_UNITS = {
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "m": 1e-3,
    "": 1.0,
}
_WORKLOADS = frozenset({"Deployment", "StatefulSet", "ReplicaSet", "Job", "DaemonSet"})


@dataclass(frozen=True)
class Checked:
    """One check: what was seen, and what to do where something is wrong."""

    check: str
    verdict: Verdict
    seen: str
    fix: str = ""


@dataclass(frozen=True)
class Need:
    """What pods ask for: processor cores, bytes, and how many they are."""

    cores: float = 0.0
    memory: float = 0.0
    pods: int = 0

    def __add__(self, other: Need) -> Need:
        return Need(self.cores + other.cores, self.memory + other.memory, self.pods + other.pods)

    def __sub__(self, other: Need) -> Need:
        return Need(self.cores - other.cores, self.memory - other.memory, self.pods - other.pods)

    def times(self, count: int) -> Need:
        """That many of it."""
        return Need(self.cores * count, self.memory * count, self.pods * count)


def version(seen: str, minimum: str) -> Checked:
    """Whether the cluster's Kubernetes is new enough for the chart."""
    if _numbers(seen)[:2] >= _numbers(minimum)[:2]:
        return Checked("Kubernetes", "ok", f"{seen}, {minimum} or later is needed")
    return Checked("Kubernetes", "fail", f"{seen}, {minimum} or later is needed", "upgrade the cluster first")


def storage_versions(new: Iterable[Document], there: Mapping[str, Document]) -> Checked:
    """Whether every version that objects are stored in is still one of the new definition's.

    A server refuses such a definition, and objects in a version that nobody serves any more could not be read.
    """
    lost = []
    for definition in new:
        name = definition["metadata"]["name"]
        stored = (there.get(name, {}).get("status") or {}).get("storedVersions") or []
        served = {item["name"] for item in definition["spec"]["versions"]}
        if gone := [item for item in stored if item not in served]:
            lost.append(
                f"{name} has objects stored as {', '.join(gone)}, the new one knows {', '.join(sorted(served))}"
            )
    if lost:
        fix = "write its objects anew in the new version, then take the old one out of status.storedVersions"
        return Checked("stored versions", "fail", "; ".join(lost), fix)
    return Checked("stored versions", "ok", "every stored version stays readable")


def foreign(objects: Iterable[Document], release: str, namespace: str) -> Checked:
    """Whether objects that the release wants to make are there and belong to nobody, or to another release."""
    taken = []
    for item in objects:
        owner = _owner(item)
        if owner != (release, namespace):
            whose = f"of the release {owner[0]} in {owner[1]}" if owner else "of no release"
            taken.append(f"{item['kind']} {item['metadata']['name']} ({whose})")
    if not taken:
        return Checked("leftovers", "ok", "nothing is in the way")
    shown = ", ".join(taken[:5]) + (f" and {len(taken) - 5} more" if len(taken) > 5 else "")
    fix = f"uninstall what they belong to, or --take-over makes them part of the release {release}"
    return Checked("leftovers", "fail", f"already there: {shown}", fix)


def is_of(item: Document, release: str, namespace: str) -> bool:
    """Whether an object belongs to the release."""
    return _owner(item) == (release, namespace)


def needed(objects: Iterable[Document], nodes: int = 1) -> Need:
    """What the pods of these workloads ask for; a DaemonSet has one on each node."""
    total = Need()
    for item in objects:
        if item.get("kind") not in _WORKLOADS:
            continue
        spec = item["spec"]
        count = nodes if item["kind"] == "DaemonSet" else int(spec.get("replicas", spec.get("parallelism", 1)))
        total += pod_need(spec["template"]["spec"]).times(count)
    return total


def pod_need(spec: Document) -> Need:
    """What one pod asks for."""
    asked = [container.get("resources", {}).get("requests", {}) for container in spec.get("containers", ())]
    return Need(
        sum(quantity(item.get("cpu", 0)) for item in asked), sum(quantity(item.get("memory", 0)) for item in asked), 1
    )


def room(need: Need, nodes: Sequence[Document], pods: Iterable[Document]) -> Checked:
    """Whether the nodes that take pods have room for `need` beside what runs; summed, so a tight cluster may still refuse."""
    free = Need()
    open_nodes = {node["metadata"]["name"] for node in nodes if not node.get("spec", {}).get("unschedulable")}
    for node in nodes:
        if node["metadata"]["name"] in open_nodes:
            has = node["status"]["allocatable"]
            free += Need(quantity(has["cpu"]), quantity(has["memory"]), int(has["pods"]))
    for pod in pods:
        runs = pod.get("status", {}).get("phase") not in {"Succeeded", "Failed"}
        if runs and pod["spec"].get("nodeName") in open_nodes:
            free -= pod_need(pod["spec"])
    seen = f"{_words(need)} needed, {_words(free)} free on {len(open_nodes)} nodes"
    if need.cores > free.cores or need.memory > free.memory or need.pods > free.pods:
        return Checked("room", "fail", seen, "add a node, or ask for less with --set")
    return Checked("room", "ok", seen)


def disks(objects: Iterable[Document], classes: Sequence[Document]) -> Checked:
    """Whether there is a storage class for each disk that the workloads claim."""
    claims = [
        claim["spec"]
        for item in objects
        if item.get("kind") == "StatefulSet"
        for claim in item["spec"].get("volumeClaimTemplates") or ()
    ]
    names = {item["metadata"]["name"] for item in classes}
    key = "storageclass.kubernetes.io/is-default-class"
    default = any(item["metadata"].get("annotations", {}).get(key) == "true" for item in classes)
    lost = {spec.get("storageClassName") or "(the default one)" for spec in claims if not _has(spec, names, default)}
    if lost:
        return Checked(
            "disks",
            "fail",
            f"no storage class {', '.join(sorted(lost))}",
            "kubectl get storageclass; name one with --set",
        )
    return Checked(
        "disks", "ok", f"{len(claims)} claims, their storage class is there" if claims else "none are claimed"
    )


def quantity(value: object) -> float:
    """Cores or bytes out of Kubernetes' notation, such as 250m or 1Gi."""
    match = re.fullmatch(r"([0-9.]+(?:[eE][+-]?[0-9]+)?)([A-Za-z]*)", str(value))
    if match is None or match[2] not in _UNITS:
        return 0.0
    return float(match[1]) * _UNITS[match[2]]


def _has(spec: Document, names: set[str], default: bool) -> bool:
    name = spec.get("storageClassName")
    return name in names if name else default


def _owner(item: Document) -> tuple[str, str] | None:
    notes = item["metadata"].get("annotations") or {}
    name = notes.get("meta.helm.sh/release-name")
    return (name, notes.get("meta.helm.sh/release-namespace", "")) if name else None


def _words(need: Need) -> str:
    return f"{need.cores:.2f} cores, {need.memory / 2**20:.0f} MiB, {need.pods} pods"


def _numbers(seen: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", seen))
