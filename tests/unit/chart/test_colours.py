"""Two colours in one chart: whose pods are rendered, whom Services lead to, and that the other's objects stay as they were."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helm import Chart, Object, merged, nested
from tests.unit.chart.combinations import SERVICES
from todoctl.core.colours import of_colour, workload_name


def with_colours(chart: Chart, *, image: str = "1", **colours: Any) -> dict[tuple[str, str], Object]:
    """(kind, name) → object."""
    values = merged(nested("kubernetes.colours", colours), nested("kubernetes.images.tag", image))
    return {(item["kind"], item["metadata"]["name"]): item for item in chart.render(values=values)}


def leads_to(objects: dict[tuple[str, str], Object], suffix: str = "") -> set[str]:
    """The colours that the services' Services select."""
    return {objects["Service", f"{name}{suffix}"]["spec"]["selector"]["colour"] for name in SERVICES}


@pytest.mark.parametrize("colour", ["blue", "green"])
def test_one_colour(chart: Chart, colour: str) -> None:
    """It is on, everything leads to it, and there is nothing to preview."""
    objects = with_colours(chart, active=colour)
    config = objects["ConfigMap", "colours"]["data"]
    assert (config["active"], config[colour]) == (colour, "on")
    assert sorted(config.values()) == sorted([colour, "on", "off"])
    assert leads_to(objects) == leads_to(objects, "-sidecar") == {colour}
    assert ("Service", "api-preview") not in objects
    name = workload_name("api", colour)  # type: ignore[arg-type]
    template = objects["Deployment", name]["spec"]["template"]
    assert template["metadata"]["labels"]["colour"] == colour
    assert objects["HorizontalPodAutoscaler", name]["spec"]["scaleTargetRef"]["name"] == name
    assert objects["PodDisruptionBudget", name]["spec"]["selector"]["matchLabels"]["colour"] == colour


def test_beside_it_the_other_colour(chart: Chart) -> None:
    """The new one is rendered, off, and has previews; the old one keeps objects and requests, whatever the values are now."""
    before = with_colours(chart, image="1")
    kept = of_colour(list(before.values()), "blue")
    made = with_colours(chart, image="2", active="blue", renders="green", kept=kept)
    assert [made[item["kind"], item["metadata"]["name"]] for item in kept] == kept
    assert made["ConfigMap", "colours"]["data"] == {"active": "blue", "blue": "on", "green": "off"}
    assert leads_to(made) == leads_to(made, "-sidecar") == {"blue"}
    assert leads_to(made, "-preview") == {"green"}
    (container,) = made["Deployment", "api-green"]["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "todo-api:2"


def test_the_switch_touches_no_pod(chart: Chart) -> None:
    """Only Services and the ConfigMap differ from the step before."""
    kept = of_colour(list(with_colours(chart).values()), "blue")
    before = with_colours(chart, image="2", active="blue", renders="green", kept=kept)
    after = with_colours(chart, image="2", active="green", kept=kept)
    changed = {
        kind for kind, name in before.keys() | after.keys() if before.get((kind, name)) != after.get((kind, name))
    }
    assert changed == {"Service", "ConfigMap"}


def test_a_sidecar_asks_its_service(chart: Chart) -> None:
    """And never takes a late answer for a no; it finds others by our own Services."""
    objects = with_colours(chart)
    annotations = objects["Deployment", "audit"]["spec"]["template"]["metadata"]["annotations"]
    assert annotations["dapr.io/enable-app-health-check"] == "true"
    assert annotations["dapr.io/app-health-check-path"] == "/workz"
    assert int(annotations["dapr.io/app-health-threshold"]) == 10**9
    resolution = objects["Configuration", "audit"]["spec"]["nameResolution"]
    assert resolution["configuration"] == {"template": "{{.ID}}-sidecar.{{.Namespace}}.svc:{{.Port}}"}
    (port,) = objects["Service", "audit-sidecar"]["spec"]["ports"]
    assert (port["port"], objects["Service", "audit-sidecar"]["spec"]["clusterIP"]) == (50002, "None")


def test_another_colour_is_refused(chart: Chart) -> None:
    """By the schema."""
    done = chart.template(values=nested("kubernetes.colours.active", "red"))
    assert done.returncode
    assert "active" in done.stderr
