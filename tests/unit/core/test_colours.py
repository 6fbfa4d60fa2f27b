"""Which colour runs, and what is a colour's own."""

from __future__ import annotations

from typing import Any

import pytest

from todoctl.core import colours
from todoctl.core.manifests import images_of

Object = dict[str, Any]


def config(active: str) -> Object:
    """The ConfigMap of a release."""
    return {"kind": "ConfigMap", "metadata": {"name": "colours"}, "data": {"active": active}}


def deployment(name: str, colour: str, image: str) -> Object:
    """A Deployment of a colour."""
    labels = {"app.kubernetes.io/component": name, "colour": colour}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"image": image}]}}
    return {"kind": "Deployment", "metadata": {"name": name, "labels": labels}, "spec": {"template": template}}


@pytest.mark.parametrize(
    ("objects", "active", "knows"),
    [([], "blue", False), ([config("blue")], "blue", True), ([config("green")], "green", True)],
)
def test_the_active_colour(objects: list[Object], active: str, knows: bool) -> None:
    """By the release's ConfigMap; blue where a chart had none."""
    assert (colours.active_colour(objects), colours.knows_colours(objects)) == (active, knows)


def test_what_a_colour_has_of_its_own() -> None:
    """By its label; what both share has none."""
    blue, green = deployment("api", "blue", "a:1"), deployment("api", "green", "a:2")
    budget = {"kind": "PodDisruptionBudget", "metadata": {"name": "api", "labels": {"colour": "blue"}}}
    objects = [config("green"), blue, green, budget]
    assert colours.of_colour(objects, "blue") == [blue, budget]
    assert colours.deployments_of(objects, colours.other("green")) == [blue]
    assert colours.workload_name("api", "blue") == "api"
    assert colours.workload_name("api", "green") == "api-green"


def test_the_images_of_a_release_are_those_of_the_colour_that_runs() -> None:
    """In whatever order the objects come."""
    two = [deployment("api", "blue", "a:1"), deployment("api", "green", "a:2")]
    for active, image in (("blue", "a:1"), ("green", "a:2")):
        assert images_of([*two, config(active)]) == images_of([config(active), *two[::-1]]) == {"api": image}
