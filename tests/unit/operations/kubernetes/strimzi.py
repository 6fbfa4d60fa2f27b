"""Strimzi's resources in a namespace that lives, and an operator for them that takes its time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.unit.operations.kubernetes.cluster import FakeCluster
from tests.unit.operations.kubernetes.living import STRIMZI

Object = dict[str, Any]
Verdict = tuple[str, str] | None  # reason and message
WHERE = "kafka"


def resource(kind: str, name: str, **spec: Any) -> Object:
    """As the chart has it."""
    labels = {"app.kubernetes.io/name": "todo", "strimzi.io/cluster": "todo"}
    notes = {"helm.sh/resource-policy": "keep"}
    metadata = {"name": name, "namespace": WHERE, "labels": labels, "annotations": notes}
    return {"apiVersion": STRIMZI[kind].api, "kind": kind, "metadata": metadata, "spec": spec}


def resources(**spec: Any) -> list[Object]:
    """A Kafka of that `spec` with its nodes, a topic and a user."""
    others = {"KafkaNodePool": "node", "KafkaTopic": "task-events", "KafkaUser": "todo"}
    return [resource("Kafka", "todo", **spec), *(resource(kind, name) for kind, name in others.items())]


def condition(kind: str, status: str = "True", reason: str = "", message: str = "") -> Object:
    """One of a status."""
    return {"type": kind, "status": status, "reason": reason, "message": message}


@dataclass
class Operator:
    """Looks whenever time passes: `takes` seconds for each generation, then it is ready unless `judge` refuses it."""

    cluster: FakeCluster
    takes: float = 20.0
    judge: Callable[[Object], Verdict] = lambda _item: None
    _since: dict[tuple[str, int], float] = field(default_factory=dict)

    def look(self, now: float) -> None:
        """At everything that is there."""
        for path, item in self.cluster.objects.items():
            if item.get("kind") in STRIMZI:
                since = self._since.setdefault((path, item["metadata"]["generation"]), now)
                self._settle(item, is_done=now - since >= self.takes)

    def _settle(self, item: Object, *, is_done: bool) -> None:
        if item["kind"] == "Kafka" and "status" not in item:
            first = condition("NotReady", reason="Creating", message="Kafka cluster is being deployed")
            item["status"] = {"conditions": [first]}
        if is_done or (verdict := self.judge(item)):
            verdict = self.judge(item)
            said = condition("NotReady", "True", *verdict) if verdict else condition("Ready")
            found = [] if item["kind"] == "KafkaNodePool" else [said]
            item["status"] = {"observedGeneration": item["metadata"]["generation"], "conditions": found}
