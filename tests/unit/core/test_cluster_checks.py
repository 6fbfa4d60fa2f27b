"""Whether a cluster can take an operator, judged from documents."""

from __future__ import annotations

from typing import Any

import pytest

from todoctl.core import cluster_checks as checks
from todoctl.core.cluster_checks import Need


def _node(name: str = "one", *, closed: bool = False, **allocatable: str) -> dict[str, Any]:
    has = {"cpu": "2", "memory": "4Gi", "pods": "10", **allocatable}
    return {"metadata": {"name": name}, "spec": {"unschedulable": closed}, "status": {"allocatable": has}}


def _pod_spec(cpu: str = "500m", memory: str = "1Gi") -> dict[str, Any]:
    return {"containers": [{"resources": {"requests": {"cpu": cpu, "memory": memory}}}]}


def _running(node: str = "one", phase: str = "Running", **asked: str) -> dict[str, Any]:
    return {"spec": {**_pod_spec(**asked), "nodeName": node}, "status": {"phase": phase}}


@pytest.mark.parametrize(
    ("seen", "minimum", "verdict"),
    [
        ("v1.34.4", "1.30", "ok"),
        ("v1.30.0-gke.100", "1.30", "ok"),
        ("v1.29.9", "1.30", "fail"),
        ("v2.0.0", "1.30", "ok"),
        ("v1.9.0", "1.16", "fail"),
    ],
)
def test_kubernetes_must_be_new_enough(seen: str, minimum: str, verdict: str) -> None:
    """By numbers, not by letters; a provider's suffix is no version."""
    assert checks.version(seen, minimum).verdict == verdict


def test_a_version_that_objects_are_stored_in_must_not_vanish() -> None:
    """What was once stored counts, even where nothing is stored in it now: the server refuses as well."""
    there = {"x": {"status": {"storedVersions": ["v1beta2", "v1"]}}}

    def new(*names: str) -> list[dict[str, Any]]:
        return [{"metadata": {"name": "x"}, "spec": {"versions": [{"name": name} for name in names]}}]

    lost = checks.storage_versions(new("v1"), there)
    assert lost.verdict == "fail"
    assert "stored as v1beta2" in lost.seen
    assert checks.storage_versions(new("v1beta2", "v1"), there).verdict == "ok"
    assert checks.storage_versions(new("v1"), {}).verdict == "ok"


def test_only_what_belongs_to_the_release_may_be_there() -> None:
    """Of nobody, or of a release of the same name in another namespace: in the way, by name."""
    mine = {"meta.helm.sh/release-name": "dapr", "meta.helm.sh/release-namespace": "dapr-system"}
    other = {**mine, "meta.helm.sh/release-namespace": "elsewhere"}
    objects = [
        {"kind": "ClusterRole", "metadata": {"name": "a", "annotations": mine}},
        {"kind": "ClusterRole", "metadata": {"name": "b", "annotations": other}},
        {"kind": "ClusterRole", "metadata": {"name": "c"}},
    ]
    found = checks.foreign(objects, "dapr", "dapr-system")
    assert found.verdict == "fail"
    assert "ClusterRole b (of the release dapr in elsewhere), ClusterRole c (of no release)" in found.seen
    assert checks.foreign(objects[:1], "dapr", "dapr-system").verdict == "ok"


def test_what_a_chart_needs_counts_replicas_and_nodes() -> None:
    """A DaemonSet once for each node; what makes no pods needs nothing."""
    template = {"template": {"spec": _pod_spec()}}
    objects = [
        {"kind": "Deployment", "spec": {**template, "replicas": 3}},
        {"kind": "DaemonSet", "spec": template},
        {"kind": "Service", "spec": {}},
    ]
    assert checks.needed(objects, nodes=2) == Need(2.5, 5 * 2**30, 5)


@pytest.mark.parametrize(
    ("need", "pods", "verdict"),
    [
        (Need(1.0, 2**30, 1), [], "ok"),
        (Need(3.0, 2**30, 1), [], "fail"),
        (Need(1.0, 5 * 2**30, 1), [], "fail"),
        (Need(0.1, 0, 11), [], "fail"),
        (Need(1.0, 0, 1), [_running(), _running(), _running()], "fail"),
        (Need(1.0, 0, 1), [_running(), _running(), _running(phase="Succeeded")], "ok"),
    ],
)
def test_there_must_be_room_beside_what_runs(need: Need, pods: list[dict[str, Any]], verdict: str) -> None:
    """Cores, memory and the number of pods; a pod that has ended takes none."""
    assert checks.room(need, [_node()], pods).verdict == verdict


def test_a_closed_node_is_no_room() -> None:
    """Neither what it has nor what runs there counts."""
    found = checks.room(Need(1.0, 0, 1), [_node(closed=True)], [_running()])
    assert found.verdict == "fail"
    assert "on 0 nodes" in found.seen


def test_disks_need_a_storage_class() -> None:
    """The default one where a claim names none."""
    claims = [{"kind": "StatefulSet", "spec": {"volumeClaimTemplates": [{"spec": {}}]}}]
    plain = {"metadata": {"name": "slow"}}
    default = {"metadata": {"name": "fast", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}}}
    assert checks.disks(claims, [plain]).verdict == "fail"
    assert checks.disks(claims, [plain, default]).verdict == "ok"
    named = [{"kind": "StatefulSet", "spec": {"volumeClaimTemplates": [{"spec": {"storageClassName": "slow"}}]}}]
    assert checks.disks(named, [plain]).verdict == "ok"
    assert "no storage class slow" in checks.disks(named, []).seen


@pytest.mark.parametrize(
    ("text", "number"), [("250m", 0.25), ("2", 2.0), ("1Gi", 2**30), ("1e3", 1000.0), ("1.5M", 1.5e6), ("much", 0.0)]
)
def test_quantities(text: str, number: float) -> None:
    """Kubernetes' notation."""
    assert checks.quantity(text) == pytest.approx(number)
