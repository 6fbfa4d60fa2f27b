"""A restart in a cluster: what is waited for, and when waiting is no use."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.operations.kubernetes.cluster import FakeCluster, pod
from tests.unit.sites import CHART
from todoctl.adapters.chart import read_values
from todoctl.adapters.kube.kinds import DEPLOYMENTS, PODS
from todoctl.errors import UnhealthyError, UsageError, WaitTimeoutError
from todoctl.operations.kubernetes import restart

VALUES = read_values(CHART, (CHART / "values-local.yaml",))
DONE = {"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}


def deployed(status: dict[str, int]) -> FakeCluster:
    """A cluster with api's Deployment, which a patch gives another generation."""
    made = FakeCluster()
    document: dict[str, Any] = {"metadata": {"name": "api", "generation": 1}, "spec": {"replicas": 1}, "status": status}
    made.add(DEPLOYMENTS, document)
    made.on_patch = lambda found: found["metadata"].update(generation=2)
    return made


def test_it_ends_when_the_new_pods_are_there_and_the_old_ones_gone() -> None:
    """By the Deployment's own account."""
    events = list(restart.restart(deployed(DONE).kube, VALUES, ["api"], seconds=5))
    assert (events[-1].state, events[-1].detail) == ("ready", "1 pods replaced")


@pytest.mark.parametrize(
    ("status", "left"),
    [
        ({**DONE, "observedGeneration": 1}, "has not been begun"),
        ({**DONE, "updatedReplicas": 0}, "0 of 1 new pods, 1 available, 1 old ones"),
        ({**DONE, "availableReplicas": 0}, "1 of 1 new pods, 0 available, 0 old ones"),
        ({**DONE, "replicas": 2}, "1 of 1 new pods, 1 available, 1 old ones"),
    ],
)
def test_it_says_what_is_left_when_the_time_is_over(status: dict[str, int], left: str) -> None:
    """Exit code 7, with what was seen last."""
    with pytest.raises(WaitTimeoutError, match=f"api was not replaced after 0 s: {left}"):
        list(restart.restart(deployed(status).kube, VALUES, ["api"], seconds=0))


def test_a_pod_that_can_not_start_ends_the_wait() -> None:
    """The old pods go on serving, and the message says so."""
    cluster = deployed({**DONE, "availableReplicas": 0})
    sick = cluster.add(PODS, pod("new", "api", ready=False, waiting="ErrImageNeverPull"))
    annotation = "kubectl.kubernetes.io/restartedAt"

    def patch(found: dict[str, Any]) -> None:
        found["metadata"]["generation"] = 2

    cluster.on_patch = patch
    stamp = "now"
    sick["metadata"]["annotations"] = {annotation: stamp}
    with pytest.raises(UnhealthyError, match="ErrImageNeverPull; the old ones go on serving"):
        restart._give_up_if_hopeless(VALUES, "todo", "api", [sick])


def test_names_are_checked_first() -> None:
    """A service that there is not, and one that is not deployed."""
    with pytest.raises(UsageError, match="no service is called 'nothing'; there are: auth, api"):
        list(restart.restart(FakeCluster().kube, VALUES, ["nothing"], seconds=1))
    with pytest.raises(UnhealthyError, match="auth is not deployed in the namespace todo"):
        list(restart.restart(deployed(DONE).kube, VALUES, ["auth"], seconds=1))
