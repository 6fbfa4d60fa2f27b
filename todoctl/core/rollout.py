"""How far a release's pods and its migration are, read from the objects as the server has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from todoctl.core.pod_trouble import is_ready, trouble

Document = Mapping[str, Any]

SIDECAR = "daprd"
_REVISION = "deployment.kubernetes.io/revision"
_FAILURES = 2  # pods of a migration that failed: the third would, too


@dataclass(frozen=True)
class Progress:
    """One part of a release: whether it is as wanted, such as a workload whose new pods are all ready, and what is seen of it."""

    name: str
    done: bool
    detail: str
    trouble: str = ""  # why waiting won't help
    pod: str = ""  # the pod that it is about
    fix: str = ""  # the command that helps where it stays so


def workload_progress(workload: Document, sets: Sequence[Document], pods: Sequence[Document]) -> Progress:
    """How far a Deployment or StatefulSet is; `sets` and `pods` may be all of its namespace."""
    name, own = str(workload["metadata"]["name"]), new_pods(workload, sets, pods)
    for pod in own:
        if found := trouble(pod):
            return Progress(name, False, pod_words(pod), found, str(pod["metadata"]["name"]))
    left = _left(workload, sum(is_ready(pod) for pod in own))
    told = "; ".join(pod_words(pod) for pod in own)
    return Progress(name, not left, ", ".join(filter(None, (left, told))) or "no pods are wanted")


def new_pods(workload: Document, sets: Sequence[Document], pods: Sequence[Document]) -> list[Document]:
    """The pods of the workload's newest template."""
    owner, status = str(workload["metadata"]["uid"]), workload.get("status", {})
    if workload["kind"] != "StatefulSet":
        owned = [item for item in sets if _is_owned(item, owner)]
        newest = max(owned, key=_revision, default=None)
        owner = str(newest["metadata"]["uid"]) if newest else ""
    wanted = status.get("updateRevision", "") if workload["kind"] == "StatefulSet" else ""
    return [
        pod
        for pod in pods
        if _is_owned(pod, owner)
        and (not wanted or pod["metadata"].get("labels", {}).get("controller-revision-hash") == wanted)
    ]


def pod_words(pod: Document) -> str:
    """`NAME PHASE (reason), sidecar STATE, N restarts`, as an engineer would say it."""
    status = pod.get("status", {})
    said = {item["name"]: item for item in status.get("containerStatuses") or []}
    restarts = sum(int(item.get("restartCount", 0)) for item in said.values())
    phase = "Terminating" if pod["metadata"].get("deletionTimestamp") else str(status.get("phase", "Unknown"))
    words = [f"{pod['metadata']['name']} {'Ready' if is_ready(pod) else phase}{_reason(status)}"]
    if SIDECAR in said:
        words.append(f"sidecar {'ready' if said[SIDECAR].get('ready') else _state(said[SIDECAR]) or 'not ready'}")
    elif pod["metadata"].get("annotations", {}).get("dapr.io/enabled") == "true" and not _has(pod, SIDECAR):
        words.append("NO sidecar")
    return ", ".join([*words, *([f"{restarts} restarts"] if restarts else [])])


def job_state(job: Document | None) -> tuple[Literal["waiting", "done", "failed"], str]:
    """Where the migration's Job stands, and in words."""
    if job is None:
        return "waiting", "its Job is not there yet"
    status = job.get("status", {})
    for condition in status.get("conditions") or []:
        if condition["status"] == "True" and condition["type"] in {"Complete", "SuccessCriteriaMet"}:
            return "done", "migrated"
        if condition["status"] == "True" and condition["type"] in {"Failed", "FailureTarget"}:
            return "failed", str(condition.get("message") or condition.get("reason") or "failed")
    failed, active = int(status.get("failed", 0)), int(status.get("active", 0))
    if failed >= _FAILURES:
        return "failed", f"{failed} attempts failed"
    return "waiting", f"{active} pods work" + (f", {failed} attempts failed" if failed else "")


def _left(workload: Document, ready: int) -> str:
    """What a workload lacks of being as wanted, `ready` of its new pods being so; "" when it lacks nothing."""
    status = workload.get("status", {})
    if int(status.get("observedGeneration", 0)) < int(workload["metadata"].get("generation", 0)):
        return "not seen by its controller yet"
    wanted = int(workload["spec"].get("replicas", 1))
    available = "availableReplicas" if workload["kind"] == "Deployment" else "readyReplicas"
    counted = min(int(status.get("updatedReplicas", 0)), int(status.get(available, 0)))
    if min(ready, counted) < wanted:
        return f"{min(ready, counted)} of {wanted} ready"
    surplus = int(status.get("replicas", 0)) - wanted
    return f"{surplus} old pods still end" if surplus > 0 and workload["kind"] == "Deployment" else ""


def _reason(status: Document) -> str:
    for item in status.get("initContainerStatuses") or []:
        # A sidecar that starts as an init container runs on.
        if (state := item.get("state") or {}) and "terminated" not in state and not item.get("ready"):
            return f" ({item['name']}: {_state(item) or 'running'})"
    for item in status.get("containerStatuses") or []:
        if item["name"] != SIDECAR and not item.get("ready") and (said := _state(item)):
            return f" ({item['name']}: {said})"
    return f" ({status['reason']})" if status.get("reason") else ""


def _state(container: Document) -> str:
    state = container.get("state") or {}
    said = state.get("waiting") or state.get("terminated") or {}
    return str(said.get("reason", ""))


def _has(pod: Document, container: str) -> bool:
    spec = pod.get("spec", {})
    return any(item["name"] == container for item in (*spec.get("containers", ()), *spec.get("initContainers", ())))


def _is_owned(item: Document, owner: str) -> bool:
    return any(reference["uid"] == owner for reference in item["metadata"].get("ownerReferences") or ())


def _revision(item: Document) -> int:
    return int((item["metadata"].get("annotations") or {}).get(_REVISION, 0))
