"""What changes in a cluster's objects: named, weighed, and no secret told."""

from __future__ import annotations

import copy
from typing import Any

from todoctl.core.manifests import image_differences, images_of, manifest_differences, migration_job
from todoctl.core.release_diff import MASK, Difference


def deployment(name: str = "api", image: str = "todo-api:1", **env: str) -> dict[str, Any]:
    """A Deployment with one container."""
    container = {"name": "app", "image": image, "env": [{"name": key, "value": value} for key, value in env.items()]}
    labels = {"app.kubernetes.io/component": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    return {"kind": "Deployment", "metadata": {"name": name}, "spec": spec}


def of(kind: str, name: str = "one", **rest: Any) -> dict[str, Any]:
    """Any object."""
    return {"kind": kind, "metadata": {"name": name}, **rest}


def found(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Name, change and risk of each difference."""
    return [(item.name, item.change, item.risk) for item in manifest_differences(before, after)]


def test_the_same_objects_do_not_differ() -> None:
    """In whatever order."""
    objects = [deployment(), of("Service")]
    assert manifest_differences(objects, copy.deepcopy(objects[::-1])) == []


def test_what_comes_and_goes() -> None:
    """What takes data along is a high risk, what others are let in by a medium one, a Job that has ended none."""
    kinds = ("StatefulSet", "NetworkPolicy", "Job", "Deployment")
    gone = {name: risk for name, _, risk in found([of(kind) for kind in kinds], [])}
    assert gone == {
        "StatefulSet one": "high",
        "NetworkPolicy one": "medium",
        "Job one": "none",
        "Deployment one": "medium",
    }
    assert found([], [of("Service")]) == [("Service one", "added", "none")]


def test_what_a_server_never_changes_in_place_is_a_high_risk() -> None:
    """Helm would be refused half-way."""
    other = deployment()
    other["spec"]["selector"] = {"matchLabels": {"another": "label"}}
    assert found([deployment()], [other]) == [("Deployment api", "changed", "high")]
    assert found([of("Service", spec={"type": "ClusterIP"})], [of("Service", spec={"type": "NodePort"})]) == [
        ("Service one", "changed", "medium")
    ]


def test_a_variable_is_told_by_its_name() -> None:
    """Its place in the list says nothing."""
    (only,) = manifest_differences([deployment(A="1", B="2")], [deployment(B="3", A="1")])
    assert only.detail == "spec.template.spec.containers[app].env[B].value: 2 → 3"


def test_no_secret_is_told() -> None:
    """Neither what a Secret holds nor a variable whose name says that it is one."""
    before = [deployment(API_PASSWORD="old-word"), of("Secret", stringData={"url": "old-word"})]
    after = [deployment(API_PASSWORD="new-word"), of("Secret", stringData={"url": "new-word"})]
    told = manifest_differences(before, after)
    assert [item.detail.count(MASK) for item in told] == [2, 2]
    assert "word" not in "".join(item.detail for item in told)


def test_many_changes_are_counted_and_long_values_cut() -> None:
    """A table has to stay one."""
    before = of("ConfigMap", data={str(number): "x" * 100 for number in range(9)})
    (only,) = manifest_differences([before], [of("ConfigMap", data={str(number): "y" for number in range(9)})])
    assert only.detail.endswith("and 5 more")
    assert "x" * 60 not in only.detail


def test_hooks_are_no_part_of_a_release() -> None:
    """Helm doesn't keep them with its objects."""
    hook = {"kind": "Pod", "metadata": {"name": "test", "annotations": {"helm.sh/hook": "test"}}}
    assert manifest_differences([], [hook]) == []


def test_images_by_component() -> None:
    """What runs where, and what is to."""
    before, after = images_of([deployment(), of("Service")]), images_of([deployment(image="todo-api:2")])
    assert before == {"api": "todo-api:1"}
    detail = "todo-api:1 → todo-api:2"
    assert image_differences(before, after) == [Difference("code", "image of api", "changed", "low", detail)]
    assert image_differences(before, before) == []


def test_the_job_that_migrates() -> None:
    """The one that is no hook."""
    assert migration_job([deployment()]) is None
    assert migration_job([of("Job", "migrate")]) == of("Job", "migrate")
