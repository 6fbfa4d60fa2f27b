"""Operators for a Minikube: fetched and installed where they are missing, awaited where they are, gone on with after a kill."""

from __future__ import annotations

import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tests.unit.operations.clusters import Charts, Object, Server, Time, deployment, site
from tests.unit.sites import CHART
from todoctl.adapters.chart import read_values
from todoctl.adapters.helm import Release
from todoctl.adapters.tools.pins import load
from todoctl.errors import WaitTimeoutError
from todoctl.operations.minikube import operators
from todoctl.operations.operators.site import Site

PIN = load().charts["dapr"]
OPERATOR: Object = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "dapr-operator"},
    "spec": {"replicas": 1, "template": {"spec": {"containers": []}}},
}


class World:
    """A cluster with one node; Dapr is in it once Helm was asked."""

    def __init__(self) -> None:
        self.server, self.time = Server(admission=_injecting), Time()
        self.helm = Charts(self.server, [OPERATOR], after=lambda: None)
        self.helm.after = self._grow
        node = {"cpu": "4", "memory": "8Gi", "pods": "110"}
        self.server.put("/api/v1/nodes/one", spec={}, status={"allocatable": node})

    def _grow(self) -> None:
        deployment(self.server, "dapr-operator")
        assert self.helm.current
        self.helm.current = replace(self.helm.current, chart=f"dapr-{PIN.version}")

    @property
    def site(self) -> Site:
        return site(self.server, self.helm, self.time)

    def has(self, status: str = "deployed", *, version: str = PIN.version, ready: int = 1) -> None:
        """A release that is there."""
        self.helm.current = Release("dapr", "dapr-system", 3, status, f"dapr-{version}", version, "then")
        deployment(self.server, "dapr-operator", ready=ready)

    def bring(self, bundle: Path | None = None) -> tuple[list[str], bool]:
        """What it tells, and whether anything was a change."""
        told = list(operators.bring(self.site, "dapr", bundle, seconds=60))
        return [words for words, _ in told], any(is_change for _, is_change in told)


def _injecting(item: Object) -> tuple[int, Object]:
    if item["kind"] == "Pod":
        item["spec"]["containers"].append({"name": "daprd"})
    return 200, item


@pytest.fixture
def world() -> World:
    """A cluster without Dapr."""
    return World()


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A folder with the packed chart of Dapr."""
    chart = tmp_path / "dapr"
    chart.mkdir()
    (chart / "Chart.yaml").write_text(yaml.safe_dump({"apiVersion": "v2", "name": "dapr", "version": PIN.version}))
    packed = tmp_path / "bundle"
    packed.mkdir()
    with tarfile.open(packed / f"dapr-{PIN.version}.tgz", "w:gz") as archive:
        archive.add(chart, "dapr")
    return packed


def test_one_that_is_missing_is_installed_for_one_machine(world: World, bundle: Path) -> None:
    """Not the highly available way; a second time it is only looked at, and no chart is needed."""
    told, is_change = world.bring(bundle)
    assert is_change
    assert any(words.startswith("release: revision 1") for words in told)
    (upgrade,) = world.helm.upgrades
    assert not (upgrade.values.get("global") or {}).get("ha", {}).get("enabled")
    assert world.bring() == ([], False)
    assert len(world.helm.upgrades) == 1


def test_another_patch_of_the_same_line_is_left_alone(world: World) -> None:
    """An upgrade is somebody's decision."""
    world.has(version=f"{'.'.join(PIN.version.split('.')[:2])}.0")
    assert world.bring() == ([], False)
    assert world.helm.upgrades == []


def test_pods_are_awaited(world: World) -> None:
    """As after a start of the machine; when they do not come it ends in time."""
    world.has(ready=0)
    world.time.at[5.0] = lambda: _make_ready(world)
    told, is_change = world.bring()
    assert (len(told) > 1, is_change) == (True, False)
    late = World()
    late.has(ready=0)
    with pytest.raises(WaitTimeoutError, match="dapr: its pods"):
        late.bring()


def _make_ready(world: World) -> None:
    deployment(world.server, "dapr-operator")


def test_a_killed_install_is_gone_on_with(world: World, bundle: Path) -> None:
    """Its attempt is forgotten first."""
    world.has("pending-install")
    path = "/api/v1/namespaces/dapr-system/secrets/sh.helm.release.v1.dapr.v3"
    world.server.put(path)
    told: list[str] = []
    steps = operators.bring(world.site, "dapr", bundle, seconds=60)
    told.append(next(steps)[0])
    assert path not in world.server.objects
    world.helm.current = None
    told += [words for words, _ in steps]
    assert told[0].startswith("forgets what did not end: revision 3")
    assert world.helm.current is not None


def test_kafka_outside_needs_no_operator() -> None:
    """Strimzi is for a broker in the cluster."""
    local = read_values(CHART, (CHART / "values-local.yaml",))
    assert operators.wanted(local) == ("dapr", "strimzi")
    cloud = read_values(CHART, (CHART / "values-cloud.yaml",))
    assert operators.wanted(cloud) == ("dapr",)
