"""Strimzi's resources on a real API server, with its definitions and no operator: the tests play one by writing statuses."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.cluster.kube import Cluster
from tests.cluster.place import Place
from tests.helm import Chart, nested
from todoctl.adapters.kube.access import access
from todoctl.adapters.kube.api import Kube
from todoctl.errors import TodoctlError, WaitTimeoutError
from todoctl.operations.kubernetes.rollout import Rollout
from todoctl.operations.kubernetes.strimzi import resources
from todoctl.operations.operators.site import Clock
from todoctl.operations.steps import StepEvent

Object = dict[str, Any]
CREATING = {"type": "NotReady", "status": "True", "reason": "Creating", "message": "Kafka cluster is being deployed"}
READY = {"type": "Ready", "status": "True"}
WRONG = {"type": "NotReady", "status": "True", "reason": "InvalidResourceException", "message": "a listener is wrong"}


@dataclass(frozen=True)
class Kafka:
    """The chart's Strimzi resources in a namespace of their own, and who writes their statuses."""

    cluster: Cluster
    namespace: str
    objects: list[Object]

    def apply(self) -> None:
        """As Helm does."""
        done = self.cluster.apply(self.objects)
        assert done.returncode == 0, done.stderr

    def say(self, kind: str, *conditions: Object, observed: bool = True) -> None:
        """Have all resources of a kind say that of the generation that they have now."""
        for item in self.cluster.get("--namespace", self.namespace, f"{kind.lower()}s.kafka.strimzi.io")["items"]:
            moment = {"lastTransitionTime": "2026-11-26T12:00:00Z"}
            status: Object = {"conditions": [{**moment, **condition} for condition in conditions]}
            status |= {"observedGeneration": item["metadata"]["generation"]} if observed else {}
            patch = ("--subresource=status", "--type=merge", "--patch", json.dumps({"status": status}))
            name = f"{kind.lower()}s.kafka.strimzi.io/{item['metadata']['name']}"
            self.cluster.kubectl("--namespace", self.namespace, "patch", name, *patch)

    def all_ready(self) -> None:
        """A node pool has no condition of its own."""
        self.say("KafkaNodePool")
        for kind in ("Kafka", "KafkaTopic", "KafkaUser"):
            self.say(kind, READY)

    def wait(self, seconds: float) -> Iterator[StepEvent]:
        """As deploy and rollback do."""
        with Kube(access(self.cluster.environ, self.cluster.context), self.namespace) as kube:
            yield from Rollout(kube, Clock(), self.objects, 0.0).wait(seconds=seconds)


@pytest.fixture
def kafka(cluster: Cluster, chart: Chart, namespace: str) -> Kafka:
    """Applied."""
    rendered = chart.render("values-local.yaml", values=nested("kubernetes.kafka.strimzi.namespace", namespace))
    found = Kafka(cluster, namespace, resources(rendered))
    found.apply()
    return found


def follow(kafka: Kafka, acts: dict[str, Callable[[], None]], *, seconds: float) -> list[tuple[str, str, str]]:
    """What is told; where the Kafka's own words begin like this, the operator does that, once."""
    told = []
    for event in kafka.wait(seconds):
        told.append((event.name, event.state, event.detail))
        if event.name == "Kafka/todo":
            for begins in [begins for begins in acts if event.detail.startswith(begins)]:
                acts.pop(begins)()
    assert not acts
    return told


def test_ready_is_what_the_operators_say(kafka: Kafka) -> None:
    """From nobody's look over its first word to ready; a change makes all of it wait again."""
    acts = {"no operator": lambda: kafka.say("Kafka", CREATING, observed=False), "Creating": kafka.all_ready}
    told = follow(kafka, acts, seconds=30)
    names = {f"{item['kind']}/{item['metadata']['name']}" for item in kafka.objects}
    assert {name for name, state, _ in told if state == "ready"} == names
    assert ("Kafka/todo", "starting", "Creating: Kafka cluster is being deployed") in told
    (spec,) = [item["spec"] for item in kafka.objects if item["kind"] == "Kafka"]
    spec["kafka"]["config"]["log.retention.hours"] = 24
    kafka.apply()
    told = follow(kafka, {"its operator has not seen the newest change yet": kafka.all_ready}, seconds=30)
    assert told[-1][:2] == ("Kafka/todo", "ready")


def test_what_the_operator_refuses_ends_the_wait(kafka: Kafka) -> None:
    """In its words, long before the time-out."""
    with pytest.raises(TodoctlError, match="Kafka/todo: InvalidResourceException: a listener is wrong"):
        follow(kafka, {"no operator": lambda: kafka.say("Kafka", WRONG)}, seconds=300)


def test_nobody_looks(kafka: Kafka) -> None:
    """The time-out names the resources, and what brings an operator."""
    with pytest.raises(WaitTimeoutError, match="Kafka/todo: no operator has looked at it yet") as late:
        follow(kafka, {}, seconds=2)
    assert late.value.hint == "todoctl install strimzi"


@pytest.mark.slow  # it starts every service's pod
def test_a_deploy_without_an_operator_goes_back(bare_place: Place) -> None:
    """The whole command: what nobody looked at is named, kept as evidence, and the first release is removed."""
    strimzi = {"enabled": True, "namespace": bare_place.namespace}
    bare_place.change(
        kubernetes__kafka={"brokers": "", "strimzi": strimzi, "network": {"cidrs": [], "ports": []}},
    )
    failed = bare_place.run("deploy", "--no-smoke", "--timeout", "45", code=TodoctlError.exit_code)
    assert "Kafka/todo: no operator has looked at it yet (todoctl install strimzi)" in failed.err
    assert "it was removed" in failed.err
    (folder,) = (bare_place.shell.folder / "home" / "there" / "evidence").iterdir()
    assert "kind: KafkaNodePool" in (folder / "strimzi.yaml").read_text()
    assert bare_place.history()[-1]["state"] == "failed"
