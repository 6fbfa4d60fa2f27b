"""The two colours of blue-green releases, read from the objects of a release or of a cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from todoctl.core.sections import Section

Object = Mapping[str, Any]
Colour = Literal["blue", "green"]

CONFIG = "colours"  # the ConfigMap that says which one is on; pods read it while they run
LABEL = "colour"


class Colours(Section):
    """Blue-green releases: Services lead to the active colour, which takes events and jobs.

    `renders` is the colour whose pods the chart describes, the active one where it is empty; `kept` are the objects of the
    other one as they were.
    """

    active: Colour = "blue"
    renders: Literal["", "blue", "green"] = ""
    kept: tuple[dict[str, Any], ...] = ()


def other(colour: Colour) -> Colour:
    """The colour that is not this one."""
    return "green" if colour == "blue" else "blue"


def workload_name(service: str, colour: Colour) -> str:
    """What the Deployment of a service is called; blue's has the service's own name."""
    return service if colour == "blue" else f"{service}-{colour}"


def knows_colours(objects: Sequence[Object]) -> bool:
    """Whether a release's chart already had colours."""
    return _config(objects) is not None


def active_colour(objects: Sequence[Object]) -> Colour:
    """The colour that Services lead to, by the objects of a release; blue where its chart had none."""
    return said_active(_config(objects))


def said_active(config: Object | None) -> Colour:
    """The active colour by its ConfigMap; blue where there is none."""
    return "green" if config is not None and config.get("data", {}).get("active") == "green" else "blue"


def of_colour(objects: Sequence[Object], colour: Colour) -> list[Object]:
    """What a colour has of its own: Deployments, autoscalers, disruption budgets."""
    return [item for item in objects if colour_of(item) == colour]


def deployments_of(objects: Sequence[Object], colour: Colour) -> list[Object]:
    """The Deployments of a colour."""
    return [item for item in of_colour(objects, colour) if item["kind"] == "Deployment"]


def are_the_same(some: Sequence[Object], others: Sequence[Object], colour: Colour) -> bool:
    """Whether two releases give a colour the same pods: then those that wait for the one serve for the other."""
    one, two = (
        {item["metadata"]["name"]: _template(item) for item in deployments_of(all_, colour)} for all_ in (some, others)
    )
    return one == two


def colour_of(item: Object) -> str | None:
    """The colour that an object belongs to, None for what both share."""
    found = (item["metadata"].get("labels") or {}).get(LABEL)
    return None if found is None else str(found)


def _template(deployment: Object) -> Any:
    return deployment.get("spec", {}).get("template")


def _config(objects: Sequence[Object]) -> Object | None:
    return next((item for item in objects if item["kind"] == "ConfigMap" and item["metadata"]["name"] == CONFIG), None)
