"""What a strategy makes of a candidate: one revision in place of what runs, or two beside it and then switched."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from tests.helm import Chart, helm
from tests.unit.core.test_release_diff import manifest
from tests.unit.operations.kubernetes.cluster import FakeCluster
from tests.unit.sites import CHART
from todoctl.adapters.chart import read_values
from todoctl.adapters.helm import Helm, Release, Upgrade
from todoctl.core.colours import active_colour, deployments_of, of_colour
from todoctl.core.releases import to_go_back_to
from todoctl.core.values import Values
from todoctl.errors import RefusedError
from todoctl.operations.kubernetes import candidates
from todoctl.operations.kubernetes.platform import ClusterPlatform
from todoctl.operations.kubernetes.records import Records
from todoctl.operations.kubernetes.revisions import Candidate, Revisions
from todoctl.operations.operators.site import Clock
from todoctl.operations.releases import require_ran_well

Object = dict[str, Any]


@dataclass
class Releases:
    """A Helm that renders with the real one, and keeps what it is told to have applied."""

    chart: Chart
    revisions: list[list[Object]] = field(default_factory=list)

    def history(self, name: str, namespace: str) -> list[Release]:
        """The newest is deployed."""
        last = len(self.revisions)
        states = {number: "deployed" if number == last else "superseded" for number in range(1, last + 1)}
        return [Release(name, namespace, number, state, "todo-2", "1", "") for number, state in states.items()]

    def objects(self, name: str, namespace: str, *, revision: int) -> list[Object]:
        """Those of a revision."""
        assert (name, namespace) == ("todo", "todo")
        return self.revisions[revision - 1]

    def rendered(self, wanted: Upgrade, *, is_upgrade: bool) -> list[Object]:
        """What it would make."""
        assert is_upgrade == bool(self.revisions)
        return self.chart.render(values=wanted.values)


@dataclass
class World:
    """A cluster with that Helm, and a file of values."""

    helm: Releases
    file: Path
    cluster: FakeCluster = field(default_factory=FakeCluster)

    @property
    def revisions(self) -> Revisions:
        """As operations see it."""
        kube, helm_ = self.cluster.kube, cast("Helm", self.helm)
        return Revisions(
            kube=kube,
            helm=helm_,
            clock=Clock(),
            records=Records(kube, "todo"),
            platform=_none,
            folder=Path(),
            by="ann@desk",
            seconds=1,
        )

    def candidate(self, tag: str, strategy: str) -> Candidate:
        """Images of this tag, to be run so."""
        self.file.write_text(yaml.safe_dump({"kubernetes": {"images": {"tag": tag}}}))
        bare = Candidate(read_values(CHART, (self.file,)), (), manifest())
        return candidates.by_strategy(self.revisions, CHART, (self.file,), bare, strategy)  # type: ignore[arg-type]

    def apply(self, candidate: Candidate) -> None:
        """Have it run."""
        self.helm.revisions += [list(part.objects) for part in (candidate.beside, candidate) if part]


def _none(_: Values) -> ClusterPlatform:
    raise AssertionError("nothing is asked here")


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Nothing runs."""
    return World(Releases(Chart(helm(), CHART)), tmp_path / "values.yaml")


def images(candidate: Candidate, colour: str) -> set[str]:
    """Of a colour's pods."""
    found = deployments_of(candidate.objects, colour)  # type: ignore[arg-type]
    return {item["spec"]["template"]["spec"]["containers"][0]["image"].rpartition(":")[2] for item in found}


@pytest.mark.parametrize("strategy", ["rolling", "blue-green"])
def test_the_first_release_is_blue(world: World, strategy: str) -> None:
    """There is nothing to be beside."""
    found = world.candidate("1", strategy)
    assert (found.colour, found.beside) == ("blue", None)
    assert (images(found, "blue"), images(found, "green")) == ({"1"}, set())


def test_from_colour_to_colour(world: World) -> None:
    """What runs is kept to the letter, and takes the third release's place, which is made where the first one was."""
    world.apply(first := world.candidate("1", "rolling"))
    second = world.candidate("2", "blue-green")
    assert second.beside
    assert (active_colour(second.beside.objects), second.colour) == ("blue", "green")
    for objects in (second.beside.objects, second.objects):
        assert of_colour(objects, "blue") == of_colour(first.objects, "blue")
    world.apply(second)
    third = world.candidate("3", "blue-green")
    assert (third.colour, images(third, "blue"), images(third, "green")) == ("blue", {"3"}, {"2"})


def test_a_rolling_release_keeps_the_colour_that_runs(world: World) -> None:
    """The idle one goes."""
    world.apply(world.candidate("1", "rolling"))
    world.apply(world.candidate("2", "blue-green"))
    found = world.candidate("3", "rolling")
    assert (found.colour, found.beside) == ("green", None)
    assert (images(found, "green"), images(found, "blue")) == ({"3"}, set())


def test_a_chart_without_colours(world: World) -> None:
    """Its pods could not be idle."""
    world.helm.revisions.append([{"kind": "Deployment", "metadata": {"name": "api"}}])
    with pytest.raises(RefusedError, match="a chart without colours"):
        world.candidate("2", "blue-green")


def test_a_step_is_nothing_to_go_back_to(world: World) -> None:
    """By number or without."""
    for tag, strategy in (("1", "rolling"), ("2", "blue-green")):
        world.apply(world.candidate(tag, strategy))
    history = world.revisions.history()
    marked = [item.model_copy(update={"prepares": 3 if item.revision == 2 else None}) for item in history]
    assert [item.state for item in marked] == ["superseded", "superseded", "deployed"]
    found = to_go_back_to(marked)
    assert found
    assert found.revision == 1
    with pytest.raises(RefusedError, match="release 2 only prepared release 3"):
        require_ran_well(marked, 2)
