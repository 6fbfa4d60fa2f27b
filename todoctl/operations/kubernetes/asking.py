"""Asks the image that will migrate what its code needs and reads: `python -m services.release`, in a pod for a moment."""

from __future__ import annotations

import copy
import json
import secrets
from contextlib import suppress
from typing import Any

from pydantic import ValidationError

from todoctl.adapters.kube.api import Kube, Object
from todoctl.adapters.kube.kinds import PODS
from todoctl.core.manifests import migration_job
from todoctl.core.pod_trouble import trouble, unschedulable
from todoctl.core.releases import Manifest
from todoctl.errors import TodoctlError, WaitTimeoutError
from todoctl.operations.operators.site import Clock

_CONTAINER = "release"
_EVERY = 0.5


def ask(kube: Kube, objects: list[Object], clock: Clock, *, seconds: float) -> Manifest:
    """What the release says of itself; the pod is gone afterwards.

    Raises:
        TodoctlError: the image can't be had, or does not say.
        WaitTimeoutError: it did not answer in time.
    """
    job = migration_job(objects)
    if job is None:
        raise TodoctlError("the chart has no Job that migrates, so no image can be asked what it needs")
    pod = _pod(dict(job))
    name, image = str(pod["metadata"]["name"]), str(pod["spec"]["containers"][0]["image"])
    kube.create(PODS, pod)
    try:
        _until_ended(kube, name, image, clock, seconds)
        said = "\n".join(kube.logs(name, _CONTAINER))
    finally:
        with suppress(TodoctlError):
            kube.delete(PODS, name)
    try:
        told: dict[str, Any] = json.loads(said[said.index("{") :])
        return Manifest.model_validate(told)
    except (ValueError, ValidationError) as error:
        raise TodoctlError(
            f"the image {image} does not say what it needs: {said[:200]}", hint="todoctl images build"
        ) from error


def _pod(job: Object) -> Object:
    """The Job's own pod with another command: same image, same rights, no secrets."""
    spec = copy.deepcopy(job["spec"]["template"]["spec"])
    container = spec["containers"][0]
    container |= {"name": _CONTAINER, "command": ["python", "-m", "services.release"]}
    for key in ("args", "env"):
        container.pop(key, None)
    for key in ("initContainers", "serviceAccountName"):
        spec.pop(key, None)
    spec |= {"containers": [container], "restartPolicy": "Never", "activeDeadlineSeconds": 300}
    labels = {"app.kubernetes.io/managed-by": "todoctl", "app.kubernetes.io/component": "question"}
    metadata = {
        "name": f"todoctl-asks-{secrets.token_hex(4)}",
        "labels": labels,
        "annotations": {"dapr.io/enabled": "false"},
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def _until_ended(kube: Kube, name: str, image: str, clock: Clock, seconds: float) -> None:
    deadline = clock.now() + seconds
    while True:
        pod = kube.get(PODS, name) or {"metadata": {}, "status": {"phase": "Failed", "reason": "it is gone"}}
        phase = str(pod["status"].get("phase", ""))
        if phase == "Succeeded":
            return
        if phase == "Failed":
            words = tuple(_log(kube, name))
            raise TodoctlError(
                f"the image {image} does not say what it needs", detail=words, hint="todoctl images build"
            )
        if found := trouble(pod):
            raise TodoctlError(
                f"the image {image} can't be asked what it needs: {found}", hint="todoctl images push, or load"
            )
        if clock.now() >= deadline:
            last = unschedulable(pod) or phase
            raise WaitTimeoutError(
                f"the image {image} was not asked within {seconds:.0f} s: {last}", hint="todoctl doctor"
            )
        clock.pause(_EVERY)


def _log(kube: Kube, name: str) -> list[str]:
    try:
        return list(kube.logs(name, _CONTAINER, tail=10))
    except TodoctlError:
        return []
