"""Waiting for what was installed, on observed states: definitions established, pods ready, webhooks answering."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from todoctl.adapters.kube.answers import ForbiddenError, KubeError, UnreachableError
from todoctl.adapters.kube.api import Kube
from todoctl.adapters.kube.kinds import DEFINITIONS, PODS, REPLICA_SETS, Kind
from todoctl.core import pod_trouble
from todoctl.core.operators import Probe
from todoctl.errors import UnhealthyError, WaitTimeoutError
from todoctl.operations.operators.site import Clock

Document = dict[str, Any]
_EVERY = 1.0  # seconds between looks
_LOGS = 10  # lines of a pod's log in an error

# Where each kind of workload says how far it is: the wanted number of pods, and those that are new, and ready.
_COUNTS = {
    "Deployment": ("replicas", "updatedReplicas", "availableReplicas"),
    "StatefulSet": ("replicas", "updatedReplicas", "readyReplicas"),
    "DaemonSet": ("desiredNumberScheduled", "updatedNumberScheduled", "numberAvailable"),
}
WORKLOADS = {name: Kind("apps/v1", f"{name.lower()}s") for name in _COUNTS}


def until(clock: Clock, deadline: float, look: Callable[[], str], what: str) -> Iterator[str]:
    """Look until nothing is missing; yields what is. An API server that is away for a moment is waited for, too.

    Raises:
        WaitTimeoutError: it was still missing at the deadline.
    """
    while True:
        try:
            missing = look()
        except UnreachableError as error:
            missing = error.message
        if not missing:
            return
        if clock.now() >= deadline:
            raise WaitTimeoutError(
                f"{what} did not get ready in time: {missing}", hint="run the same command again: it goes on"
            )
        yield missing
        clock.pause(_EVERY)


def definitions(kube: Kube, names: Iterable[str]) -> str:
    """Which definitions the server does not serve yet."""
    missing = []
    for name in names:
        found = kube.get(DEFINITIONS, name)
        # A new definition has none yet: null, not [].
        conditions = ((found or {}).get("status") or {}).get("conditions") or ()
        if not any(item["type"] == "Established" and item["status"] == "True" for item in conditions):
            missing.append(name)
    return f"not established: {', '.join(missing)}" if missing else ""


def workloads(kube: Kube, wanted: Iterable[tuple[str, str, str]]) -> str:
    """Which workloads (kind, namespace, name) are not as wanted.

    Raises:
        UnhealthyError: a new pod of one won't get ready: its container crashes, or its image can't be had.
    """
    missing = []
    for kind, namespace, name in wanted:
        found = kube.get(WORKLOADS[kind], name, namespace=namespace)
        if found is None:
            missing.append(f"{kind} {name} is not there")
        elif left := _left(kind, found):
            require_hope(kube, kind, found)
            missing.append(f"{name}: {left}{_unscheduled(kube, kind, found)}")
    return "; ".join(missing)


def probes(kube: Kube, wanted: Iterable[Probe], namespace: str) -> str:
    """Which webhooks do not answer as they should; the server is only asked whether it would make the object."""
    missing = []
    for probe in wanted:
        try:
            answer = kube.apply(probe.document, namespace=namespace, dry_run=True)
        except ForbiddenError:
            raise
        except KubeError as error:
            missing.append(f"{probe.webhook}: {error.message}")
            continue
        names = {item["name"] for item in answer.get("spec", {}).get("containers", ())}
        if probe.container and probe.container not in names:
            missing.append(f"{probe.webhook}: no {probe.container} was put into a pod")
    return "; ".join(missing)


def new_pods(kube: Kube, kind: str, workload: Document) -> list[Document]:
    """The pods of a workload's newest template."""
    meta = workload["metadata"]
    labels = workload["spec"]["selector"].get("matchLabels", {})
    pods = kube.items(
        PODS, selector=",".join(f"{key}={value}" for key, value in labels.items()), namespace=meta["namespace"]
    )
    owner, revision = meta["uid"], ""
    if kind == "Deployment":
        owner = _newest_set(kube, workload)
    elif kind == "StatefulSet":
        revision = workload.get("status", {}).get("updateRevision", "")
    return [
        pod
        for pod in pods
        if any(reference["uid"] == owner for reference in pod["metadata"].get("ownerReferences", ()))
        and (not revision or pod["metadata"].get("labels", {}).get("controller-revision-hash") == revision)
    ]


def require_hope(kube: Kube, kind: str, workload: Document) -> None:
    """Return when every new pod of a workload may still get ready.

    Raises:
        UnhealthyError: one won't; with the end of its log.
    """
    for pod in new_pods(kube, kind, workload):
        if found := pod_trouble.trouble(pod):
            name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
            raise UnhealthyError(
                f"the pod {namespace}/{name} won't get ready: {found}",
                detail=_log(kube, namespace, name, found.partition(":")[0]),
                hint=f"kubectl describe pod {name} -n {namespace}",
            )


def _left(kind: str, found: Document) -> str:
    status, spec = found.get("status", {}), found["spec"]
    total, new, ready = _COUNTS[kind]
    if int(status.get("observedGeneration", 0)) < int(found["metadata"].get("generation", 0)):
        return "not seen by its controller yet"
    wanted = int(spec.get("replicas", 1)) if kind != "DaemonSet" else int(status.get(total, 0))
    updated, available = int(status.get(new, 0)), int(status.get(ready, 0))
    # While old pods end beside the new ones, the release is not what was wanted yet.
    surplus = int(status.get("replicas", wanted)) - wanted if kind == "Deployment" else 0
    if updated >= wanted and available >= wanted and surplus <= 0:
        return ""
    if updated >= wanted and available >= wanted:
        return f"{surplus} older pods have not ended yet"
    return f"{min(updated, available)} of {wanted} pods are new and ready"


def _newest_set(kube: Kube, deployment: Document) -> str:
    key = "deployment.kubernetes.io/revision"
    labels = deployment["spec"]["selector"].get("matchLabels", {})
    selector = ",".join(f"{name}={value}" for name, value in labels.items())
    sets = kube.items(REPLICA_SETS, selector=selector, namespace=deployment["metadata"]["namespace"])
    own = [
        item
        for item in sets
        if any(owner["uid"] == deployment["metadata"]["uid"] for owner in item["metadata"].get("ownerReferences", ()))
    ]
    newest = max(own, key=lambda item: int(item["metadata"].get("annotations", {}).get(key, 0)), default=None)
    return str(newest["metadata"]["uid"]) if newest else ""


def _unscheduled(kube: Kube, kind: str, workload: Document) -> str:
    found = {pod_trouble.unschedulable(pod) for pod in new_pods(kube, kind, workload)} - {""}
    return f" ({'; '.join(sorted(found))})" if found else ""


def _log(kube: Kube, namespace: str, pod: str, container: str) -> tuple[str, ...]:
    """The end of what the container said before it ended; nothing where it never ran."""
    for previous in (True, False):
        try:
            if lines := tuple(kube.logs(pod, container, tail=_LOGS, previous=previous, namespace=namespace)):
                return lines
        except (KubeError, UnreachableError, ForbiddenError):
            continue
    return ()
