"""Which pods won't get ready by waiting."""

from __future__ import annotations

from typing import Any

import pytest

from todoctl.core import pod_trouble


def _pod(state: dict[str, Any], *, restarts: int = 0, ready: bool = False, last: dict[str, Any] | None = None) -> Any:
    status = {"name": "app", "state": state, "restartCount": restarts, "ready": ready, "lastState": last or {}}
    return {"metadata": {"name": "x"}, "status": {"containerStatuses": [status]}}


_ENDED = {"terminated": {"reason": "Error", "exitCode": 1}}


@pytest.mark.parametrize(
    ("pod", "said"),
    [
        (
            _pod({"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}),
            "ImagePullBackOff: no such image",
        ),
        (_pod({"waiting": {"reason": "ErrImageNeverPull"}}), "ErrImageNeverPull"),
        (_pod({"waiting": {"reason": "CrashLoopBackOff"}}, restarts=2, last=_ENDED), "exit code 1, 2 restarts"),
        (_pod({"running": {}}, restarts=3, last=_ENDED), "exit code 1, 3 restarts"),
        # What may still pass.
        (_pod({"waiting": {"reason": "ErrImagePull"}}), ""),
        (_pod({"waiting": {"reason": "ContainerCreating"}}), ""),
        (_pod({"waiting": {"reason": "CreateContainerConfigError", "message": "secret not found"}}), ""),
        (_pod({"waiting": {"reason": "CrashLoopBackOff"}}, restarts=1, last=_ENDED), ""),
        (_pod({"running": {}}, restarts=5, ready=True, last=_ENDED), ""),
        ({"metadata": {"name": "x"}, "status": {}}, ""),
    ],
)
def test_a_pod_is_given_up_only_when_waiting_is_in_vain(pod: Any, said: str) -> None:
    """A first crash and a first failed pull may pass; a Secret may still come."""
    found = pod_trouble.trouble(pod)
    assert said in found
    assert bool(found) == bool(said)


def test_an_init_container_counts_as_well() -> None:
    """It is named, so that its log can be read."""
    waiting = {"name": "wait", "state": {"waiting": {"reason": "InvalidImageName", "message": "x"}}}
    pod = {"metadata": {"name": "x"}, "status": {"initContainerStatuses": [waiting]}}
    assert pod_trouble.trouble(pod).startswith("wait: InvalidImageName")


def test_a_pod_that_ends_is_not_ready() -> None:
    """Though it still says so."""
    ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    assert pod_trouble.is_ready({"metadata": {}, **ready})
    assert not pod_trouble.is_ready({"metadata": {"deletionTimestamp": "now"}, **ready})
    pending = {"type": "PodScheduled", "status": "False", "message": "no node has room"}
    assert pod_trouble.unschedulable({"status": {"conditions": [pending]}}) == "no node has room"
