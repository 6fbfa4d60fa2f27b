"""What is read from the status that Strimzi's operators write."""

from __future__ import annotations

from typing import Any

import pytest

from todoctl.core.strimzi import said


def item(kind: str = "Kafka", *, seen: int | None = 2, **condition: str) -> dict[str, Any]:
    """A resource of generation 2 with one condition."""
    status: dict[str, Any] = {"conditions": [condition] if condition else []}
    status |= {} if seen is None else {"observedGeneration": seen}
    return {"kind": kind, "metadata": {"name": "todo", "generation": 2}, "status": status}


def not_ready(reason: str, message: str = "words", **more: Any) -> dict[str, Any]:
    """As the cluster operator says it."""
    return item(type="NotReady", status="True", reason=reason, message=message, **more)


def topic(reason: str, message: str = "words") -> dict[str, Any]:
    """As the topic operator says it."""
    return item("KafkaTopic", type="Ready", status="False", reason=reason, message=message)


def test_ready() -> None:
    """Of the newest generation; a warning is none of it, and nobody makes an unmanaged topic ready."""
    found = item(type="Ready", status="True")
    found["status"]["conditions"].insert(0, {"type": "Warning", "status": "True", "reason": "KafkaStorage"})
    assert said(found).ready
    assert said(item("KafkaTopic", type="Unmanaged", status="True")).ready
    assert not said(item(seen=1, type="Ready", status="True")).ready
    assert not said(item()).ready


def test_a_node_pool_has_no_condition() -> None:
    """It is as it should be once its operator has seen it."""
    assert said(item("KafkaNodePool")).ready
    assert not said(item("KafkaNodePool", seen=1)).ready


def test_not_seen() -> None:
    """Never, or not since it was changed."""
    assert (said(None).words, said(None).unseen) == ("is not there yet", False)
    fresh = said({"kind": "Kafka", "metadata": {"generation": 1}})
    assert (fresh.words, fresh.unseen) == ("no operator has looked at it yet", True)
    assert (
        said(not_ready("InvalidResourceException", seen=1)).words == "its operator has not seen the newest change yet"
    )


def test_the_first_word_is_progress() -> None:
    """It comes without a generation."""
    found = said(not_ready("Creating", "Kafka cluster is being deployed", seen=None))
    assert (found.words, found.refused) == ("Creating: Kafka cluster is being deployed", False)


@pytest.mark.parametrize(
    ("document", "refused"),
    [
        (not_ready("InvalidResourceException"), True),
        (not_ready("UnsupportedKafkaVersionException"), True),
        (not_ready("InvalidConfigurationException", "No KafkaNodePools found for Kafka cluster todo"), False),
        (not_ready("InvalidResourceException", "Secret todo with requested user password does not exist."), False),
        (not_ready("TimeoutException"), False),
        (not_ready("KubernetesClientException"), False),
        (not_ready("FatalProblem"), False),
        (topic("NotSupported"), True),
        (topic("ResourceConflict"), True),
        (topic("KafkaError", "org.apache.kafka.common.errors.InvalidReplicationFactorException: 1 broker"), False),
        (topic("KafkaError", "org.apache.kafka.common.errors.InvalidConfigurationException: no such key"), True),
        (item(seen=0, type="ReconciliationPaused", status="True"), True),
    ],
)
def test_what_does_not_pass_by_itself(document: dict[str, Any], refused: bool) -> None:
    """A mistake in the resource; not what the operator tries again, or what something else may still bring."""
    found = said(document)
    assert (found.ready, found.refused) == (False, refused)
