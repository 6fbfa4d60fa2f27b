"""How far pods and migration are, read from objects as a server has them."""

from __future__ import annotations

from typing import Any

import pytest

from todoctl.core.rollout import job_state, pod_words, workload_progress

SETS = [
    {
        "metadata": {
            "uid": f"set-{number}",
            "ownerReferences": [{"uid": "d"}],
            "annotations": {"deployment.kubernetes.io/revision": str(number)},
        }
    }
    for number in (9, 10)
]


def deployment(*, updated: int = 1, available: int = 1, total: int = 1, seen: int = 2) -> dict[str, Any]:
    """A Deployment of one pod, generation 2."""
    counts = {"updatedReplicas": updated, "availableReplicas": available, "replicas": total}
    return {
        "kind": "Deployment",
        "metadata": {"name": "api", "uid": "d", "generation": 2},
        "spec": {"replicas": 1},
        "status": {"observedGeneration": seen, **counts},
    }


def pod(name: str = "api-1", owner: str = "set-10", *, ready: bool = True, **status: Any) -> dict[str, Any]:
    """A pod of a ReplicaSet; its app container is as `status` says."""
    conditions = [{"type": "Ready", "status": str(ready)}]
    containers = [{"name": "app", "ready": ready, "restartCount": 0, "state": {"running": {}}, **status}]
    return {
        "metadata": {"name": name, "ownerReferences": [{"uid": owner}]},
        "spec": {"containers": [{"name": "app"}]},
        "status": {"phase": "Running", "conditions": conditions, "containerStatuses": containers},
    }


def test_ready_when_the_new_pods_are_and_the_old_ones_are_gone() -> None:
    """The newest set's pods count; revisions are numbers."""
    found = workload_progress(deployment(), SETS, [pod()])
    assert (found.done, found.detail) == (True, "api-1 Ready")


@pytest.mark.parametrize(
    ("workload", "pods", "words"),
    [
        (deployment(seen=1), [pod()], "not seen by its controller yet"),
        (deployment(total=2), [pod(), pod("api-0", "set-9")], "1 old pods still end"),
        # The old pod is available, the new one is not ready.
        (deployment(total=2), [pod(ready=False), pod("api-0", "set-9")], "0 of 1 ready"),
        (deployment(updated=0), [], "0 of 1 ready"),
    ],
)
def test_not_ready_yet(workload: dict[str, Any], pods: list[dict[str, Any]], words: str) -> None:
    """An old pod that serves is no sign that the new one does."""
    found = workload_progress(workload, SETS, pods)
    assert not found.done
    assert found.detail.startswith(words)
    assert not found.trouble


def test_trouble_of_a_new_pod_ends_the_wait() -> None:
    """An old pod's trouble is what the release may mend."""
    crashed = {
        "state": {"waiting": {"reason": "CrashLoopBackOff"}},
        "lastState": {"terminated": {"exitCode": 7, "reason": "Error"}},
        "restartCount": 2,
    }
    found = workload_progress(deployment(), SETS, [pod(ready=False, **crashed)])
    assert (found.trouble, found.pod) == ("app: CrashLoopBackOff: Error, exit code 7, 2 restarts", "api-1")
    old = pod("api-0", "set-9", ready=False, **crashed)
    assert not workload_progress(deployment(total=2), SETS, [pod(), old]).trouble


def test_a_pod_in_words() -> None:
    """Phase, reason, sidecar, restarts; a sidecar that was not injected is said loudly."""
    seen = pod(ready=False, state={"waiting": {"reason": "ContainerCreating"}}, restartCount=3)
    seen["metadata"]["annotations"] = {"dapr.io/enabled": "true"}
    assert pod_words(seen) == "api-1 Running (app: ContainerCreating), NO sidecar, 3 restarts"
    seen["status"]["containerStatuses"].append({"name": "daprd", "ready": True, "state": {"running": {}}})
    assert pod_words(seen) == "api-1 Running (app: ContainerCreating), sidecar ready, 3 restarts"
    seen["status"]["initContainerStatuses"] = [{"name": "wait", "ready": False, "state": {"running": {}}}]
    assert "(wait: running)" in pod_words(seen)


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (None, "waiting"),
        ({"active": 1}, "waiting"),
        ({"active": 1, "failed": 1}, "waiting"),
        ({"active": 1, "failed": 2}, "failed"),
        ({"conditions": [{"type": "Complete", "status": "True"}], "failed": 3}, "done"),
        ({"conditions": [{"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}]}, "failed"),
        ({"conditions": [{"type": "Failed", "status": "False"}]}, "waiting"),
    ],
)
def test_where_a_migration_stands(status: dict[str, Any] | None, state: str) -> None:
    """One failure may pass, a second one will not."""
    assert job_state(None if status is None else {"status": status})[0] == state
