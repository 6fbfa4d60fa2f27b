"""Restarts services in a cluster: new pods beside the old ones, which go when the new ones are ready."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial

from todoctl.adapters.kube.api import Kube, Object
from todoctl.adapters.kube.kinds import DEPLOYMENTS, PODS
from todoctl.core.colours import workload_name
from todoctl.core.values import Values
from todoctl.errors import UnhealthyError, UsageError, WaitTimeoutError
from todoctl.operations.kubernetes.pods import active, missing, places, selector
from todoctl.operations.steps import Step, StepEvent, Tell, run_steps

# kubectl's own, so that both say the same of the last restart.
RESTARTED = "kubectl.kubernetes.io/restartedAt"
_LOOK = 1.0  # seconds between two looks
_HOPELESS = (
    "CrashLoopBackOff",
    "ImagePullBackOff",
    "ErrImageNeverPull",
    "InvalidImageName",
    "CreateContainerConfigError",
)


def restart(kube: Kube, values: Values, names: Sequence[str], *, seconds: float) -> Iterator[StepEvent]:
    """Have each named service's pods replaced one by one; yields until the new ones are ready and the old ones gone.

    Raises:
        UsageError: a name is not a service; the message lists those that are.
        UnhealthyError: a service is not deployed, or a new pod can't get ready.
        WaitTimeoutError: it took longer than `seconds`.
    """
    if unknown := [name for name in names if name not in values.services]:
        listed = ", ".join(values.services)
        raise UsageError(f"no service is called {', '.join(map(repr, unknown))}; there are: {listed}")
    yield from run_steps([Step(name, partial(_roll, kube, values, name, seconds)) for name in names])


def _roll(kube: Kube, values: Values, name: str, seconds: float, tell: Tell) -> str:
    deployment = workload_name(name, active(kube))
    if kube.get(DEPLOYMENTS, deployment) is None:
        raise UnhealthyError(f"{name} is not deployed in the namespace {kube.namespace}", hint="todoctl deploy")
    stamp = datetime.now(UTC).isoformat(timespec="milliseconds")
    annotated = {"template": {"metadata": {"annotations": {RESTARTED: stamp}}}}
    wanted = int(kube.patch(DEPLOYMENTS, deployment, {"spec": annotated})["metadata"]["generation"])
    deadline = time.monotonic() + seconds
    while True:
        seen = kube.get(DEPLOYMENTS, deployment) or {}
        left = _left(seen, wanted)
        if left is None:
            return f"{seen['spec'].get('replicas', 1)} pods replaced"
        fresh = [pod for pod in kube.items(PODS, selector=selector(name)) if _is_fresh(pod, stamp)]
        _give_up_if_hopeless(values, kube.namespace, name, fresh)
        if time.monotonic() > deadline:
            raise WaitTimeoutError(
                f"{name} was not replaced after {seconds:.0f} s: {left}", hint=f"todoctl status; todoctl logs {name}"
            )
        tell(left)
        time.sleep(_LOOK)


def _left(seen: Object, generation: int) -> str | None:
    """What is not done yet, None where all is."""
    status, replicas = seen.get("status", {}), int(seen.get("spec", {}).get("replicas", 1))
    if int(status.get("observedGeneration", 0)) < generation:
        return "has not been begun"
    updated, available = int(status.get("updatedReplicas", 0)), int(status.get("availableReplicas", 0))
    old = int(status.get("replicas", 0)) - updated
    if updated < replicas or available < replicas or old > 0:
        return f"{updated} of {replicas} new pods, {available} available, {old} old ones"
    return None


def _is_fresh(pod: Object, stamp: str) -> bool:
    return (pod["metadata"].get("annotations") or {}).get(RESTARTED) == stamp


def _give_up_if_hopeless(values: Values, namespace: str, name: str, fresh: Sequence[Object]) -> None:
    for place in places(values, namespace):
        if place.selector != selector(name):
            continue
        for pod in fresh:
            why = missing(pod, place) or ""
            if any(word in why for word in _HOPELESS):
                raise UnhealthyError(
                    f"the new pod of {name} does not start: {why}; the old ones go on serving",
                    hint=f"todoctl logs {name}; kubectl rollout undo deployment/{name} -n {namespace}",
                )
