"""What is wrong with a pod that waiting won't mend, read from the pod as the server has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Document = Mapping[str, Any]

CRASH_LOOP = "CrashLoopBackOff"
# A first ErrImagePull may pass; the back-off comes after the second.
_HOPELESS = frozenset(
    {"InvalidImageName", "ErrImageNeverPull", "ImagePullBackOff", "CreateContainerError", "RunContainerError"}
)
# One restart may be a start that came too early; after this many it won't get better by itself.
_RESTARTS = 3


def trouble(pod: Document) -> str:
    """Why the pod won't get ready: a crash loop, an image that can't be had, no node that fits; "" as long as it may."""
    status = pod.get("status", {})
    for container in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
        if found := _container(container):
            return f"{container['name']}: {found}"
    return ""


def unschedulable(pod: Document) -> str:
    """Why no node takes the pod; "" when one does. A cluster that grows may still get one."""
    for condition in pod.get("status", {}).get("conditions", ()):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return str(condition.get("message", "no node takes it"))
    return ""


def is_ready(pod: Document) -> bool:
    """Whether the pod says that it is ready, and is not about to end."""
    conditions = pod.get("status", {}).get("conditions", ())
    return "deletionTimestamp" not in pod["metadata"] and any(
        condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions
    )


def _container(status: Document) -> str:
    state = status.get("state", {})
    waiting = state.get("waiting", {})
    reason, message = str(waiting.get("reason", "")), str(waiting.get("message", ""))
    if reason in _HOPELESS:
        return f"{reason}: {message or status.get('image', '')}"
    ended = state.get("terminated") or status.get("lastState", {}).get("terminated") or {}
    restarts = int(status.get("restartCount", 0))
    if ended and not status.get("ready") and ((reason == CRASH_LOOP and restarts > 1) or restarts >= _RESTARTS):
        why = f"{ended.get('reason', 'Error')}, exit code {ended.get('exitCode', '?')}"
        return f"{CRASH_LOOP}: {why}, {restarts} restarts"
    return ""
