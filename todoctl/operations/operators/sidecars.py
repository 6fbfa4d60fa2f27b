"""Sidecars of another version than the injector puts in now: pods keep theirs until they are made anew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from todoctl.adapters.kube.api import Kube
from todoctl.adapters.kube.kinds import DEPLOYMENTS, REPLICA_SETS
from todoctl.core.operators import INJECTED, SIDECAR, Operator
from todoctl.operations.operators import waiting
from todoctl.operations.operators.planning import ALL_PODS
from todoctl.operations.operators.site import Clock
from todoctl.operations.steps import StepEvent

_INJECTOR = "dapr-sidecar-injector"
_IMAGE = "SIDECAR_IMAGE"
_RESTARTED = "kubectl.kubernetes.io/restartedAt"

Document = dict[str, Any]


@dataclass(frozen=True)
class Older:
    """A workload whose pods have another sidecar than they would get now."""

    kind: str
    namespace: str
    name: str
    pods: int
    image: str
    wanted: str

    @property
    def can_restart(self) -> bool:
        """Whether it makes its pods anew when it is told to."""
        return self.kind in waiting.WORKLOADS


def older(kube: Kube, operator: Operator) -> list[Older]:
    """The workloads of all namespaces whose sidecars are not what the injector puts in now."""
    wanted = injected_image(kube, operator)
    found: dict[tuple[str, str, str], list[str]] = {}
    for pod in kube.items(ALL_PODS, selector=INJECTED):
        image = next((item["image"] for item in pod["spec"]["containers"] if item["name"] == SIDECAR), "")
        if wanted and image and image != wanted and "deletionTimestamp" not in pod["metadata"]:
            found.setdefault(_owner(kube, pod), []).append(image)
    return [
        Older(kind, namespace, name, len(images), images[0], wanted)
        for (kind, namespace, name), images in sorted(found.items())
    ]


def injected_image(kube: Kube, operator: Operator) -> str:
    """The image that the injector puts into pods, "" where there is no injector."""
    injector = kube.get(DEPLOYMENTS, _INJECTOR, namespace=operator.namespace)
    if injector is None:
        return ""
    containers = injector["spec"]["template"]["spec"]["containers"]
    variables = [item for container in containers for item in container.get("env", ())]
    return next((str(item.get("value", "")) for item in variables if item["name"] == _IMAGE), "")


def restart(kube: Kube, found: Sequence[Older], clock: Clock, *, now: datetime, seconds: float) -> Iterator[StepEvent]:
    """Have the workloads make their pods anew, one workload after the other. Yields how far it is.

    Raises:
        UnhealthyError: a new pod won't get ready; those after it still have what they had.
        WaitTimeoutError: one was not ready in `seconds`.
    """
    started = clock.now()
    note = {"metadata": {"annotations": {_RESTARTED: now.isoformat(timespec="seconds")}}}
    for item in found:
        if not item.can_restart:
            continue
        title = f"{item.namespace}/{item.name}"
        kube.patch(waiting.WORKLOADS[item.kind], item.name, {"spec": {"template": note}}, namespace=item.namespace)
        wanted = [(item.kind, item.namespace, item.name)]
        for missing in waiting.until(clock, clock.now() + seconds, lambda: waiting.workloads(kube, wanted), title):  # noqa: B023 - used within its round
            yield StepEvent(title, "starting", missing, clock.now() - started)
        yield StepEvent(title, "ready", f"{item.pods} pods with {item.wanted}", clock.now() - started)


def _owner(kube: Kube, pod: Document) -> tuple[str, str, str]:
    """Who makes the pod anew: a Deployment, a StatefulSet, a DaemonSet; the pod itself where nobody does."""
    namespace = pod["metadata"]["namespace"]
    owner = next((item for item in pod["metadata"].get("ownerReferences", ()) if item.get("controller")), None)
    if owner is None:
        return ("Pod", namespace, pod["metadata"]["name"])
    if owner["kind"] == "ReplicaSet":
        found = kube.get(REPLICA_SETS, owner["name"], namespace=namespace)
        references = found["metadata"].get("ownerReferences", ()) if found else ()
        above = next((item for item in references if item.get("controller")), owner)
        return (str(above["kind"]), namespace, str(above["name"]))
    return (str(owner["kind"]), namespace, str(owner["name"]))
