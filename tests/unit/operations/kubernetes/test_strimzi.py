"""A release with Strimzi's Kafka is there when its operators say so; what they refuse, and that there are none, is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.helm import Chart, helm
from tests.unit.operations.kubernetes.cluster import FakeCluster, pod
from tests.unit.operations.kubernetes.living import STRIMZI, release
from tests.unit.operations.kubernetes.strimzi import WHERE, Operator, condition, resource, resources
from tests.unit.operations.kubernetes.world import VALUES, World
from tests.unit.sites import CHART
from todoctl.adapters.chart import read_values
from todoctl.adapters.kube.kinds import DEPLOYMENTS, NAMESPACES, PODS, REPLICA_SETS
from todoctl.core.releases import deployed
from todoctl.errors import TodoctlError, WaitTimeoutError
from todoctl.operations.checks import Finding, Stores
from todoctl.operations.kubernetes import doctor, evidence, strimzi
from todoctl.operations.kubernetes.pods import cluster_values
from todoctl.operations.kubernetes.rollout import Rollout
from todoctl.operations.operators.site import Clock
from todoctl.operations.steps import StepEvent

Object = dict[str, Any]
NAMES = {"Kafka/todo", "KafkaNodePool/node", "KafkaTopic/task-events", "KafkaUser/todo"}
KAFKA = cluster_values(VALUES).kafka.strimzi
WRONG = ("InvalidResourceException", "a listener needs a name")


def is_wrong(item: Object) -> tuple[str, str] | None:
    """What the operator says to a Kafka that can't be."""
    return WRONG if item["spec"].get("version") == "none" else None


@pytest.fixture
def world() -> World:
    """Release 1 runs, with its broker outside."""
    made = World(seconds=120.0)
    made.do(made.change(release("blue", blue="one")))
    return made


def deploy(world: World, **spec: Any) -> list[StepEvent]:
    """A release with a Kafka of its own."""
    return list(world.change([*release("blue", blue="two"), *resources(**spec)]).carry_out(None))


def of(name: str, events: list[StepEvent]) -> list[tuple[str, str]]:
    """What was told of one part."""
    return [(event.state, event.detail) for event in events if event.name == name]


def test_the_charts_resources_are_found_by_their_labels() -> None:
    """Each kind of them, in its namespace; none where Kafka lies outside."""
    chart = Chart(helm(), CHART)
    found = strimzi.resources(chart.render("values-local.yaml"))
    assert {item["kind"] for item in found} == set(STRIMZI)
    cluster = FakeCluster()
    for item in found:
        cluster.add(STRIMZI[item["kind"]], item, namespace=item["metadata"]["namespace"])
    assert len(strimzi.of_cluster(cluster.kube, KAFKA)) == len(found)
    assert strimzi.resources(chart.render("values-cloud.yaml")) == []


def test_a_kafka_outside_asks_for_nothing(world: World) -> None:
    """No request goes to Strimzi's API."""
    assert not [path for path in world.asked if "strimzi" in path or WHERE in path.split("/")]


def test_it_is_deployed_once_the_operators_say_so(world: World) -> None:
    """Each resource is in the live view with the operator's words."""
    world.as_time_passes = Operator(world).look
    events = deploy(world)
    assert {event.name for event in events} >= NAMES
    assert of("Kafka/todo", events) == [
        ("starting", "no operator has looked at it yet"),
        ("starting", "Creating: Kafka cluster is being deployed"),
        ("ready", "ready"),
    ]
    running = deployed(world.revisions.history())
    assert running
    assert running.revision == 2


def test_a_change_counts_once_it_was_seen(world: World) -> None:
    """Ready was said of the generation before."""
    world.as_time_passes = Operator(world).look
    deploy(world, version="1")
    told = of("Kafka/todo", deploy(world, version="2"))
    assert told == [("starting", "its operator has not seen the newest change yet"), ("ready", "ready")]
    assert of("KafkaUser/todo", deploy(world, version="2")) == [("ready", "ready")]


def test_what_the_operator_refuses_fails_early(world: World) -> None:
    """In its own words, before the time-out; the Kafka that ran comes back and is waited for, too."""
    world.as_time_passes = Operator(world, judge=is_wrong).look
    deploy(world, version="1")
    with pytest.raises(TodoctlError, match="release 3 failed; release 2 runs again") as failed:
        deploy(world, version="none")
    assert f"Kafka/todo: {': '.join(WRONG)}" in failed.value.detail
    kafka = world.objects[STRIMZI["Kafka"].path(WHERE, "todo")]
    assert (kafka["spec"], kafka["status"]["observedGeneration"]) == ({"version": "1"}, 3)


def test_a_refusal_that_passes_is_none(world: World) -> None:
    """The operator may look at one resource before another is there, and says the same until it is done with the next attempt."""
    moments: list[float] = []

    def pass_by(now: float) -> None:
        moments.append(now)
        kafka = world.objects[STRIMZI["Kafka"].path(WHERE, "todo")]
        broker = pod("todo-node-0", "kafka", ready=now > 100, containers=("kafka",))
        broker["metadata"]["labels"] = {"strimzi.io/cluster": "todo"}
        world.add(PODS, broker, namespace=WHERE)
        if now < 105:
            kafka["status"] = {"observedGeneration": 1, "conditions": [condition("NotReady", "True", *WRONG)]}
        else:
            Operator(world, takes=0).look(now)

    world.as_time_passes = pass_by
    told = of("Kafka/todo", deploy(world))
    assert [detail.partition(";")[2] for _, detail in told[1:3]] == [
        " 0 of 1 pods ready; todo-node-0 Running",
        " 1 of 1 pods ready",
    ]
    assert told[-1] == ("ready", "ready")
    assert moments[-1] > 100


def test_without_an_operator(world: World) -> None:
    """The time-out names what nobody looked at, and what brings an operator."""
    with pytest.raises(TodoctlError, match="release 2 failed; release 1 runs again") as failed:
        deploy(world)
    (words,) = [line for line in failed.value.detail if line.startswith("not ready")]
    assert "Kafka/todo: no operator has looked at it yet (todoctl install strimzi)" in words
    assert "KafkaUser/todo: no operator has looked at it yet" in words


def test_a_time_out_has_the_operators_last_word(world: World) -> None:
    """A reason that may pass is waited for."""
    slow = ("TimeoutException", "Exceeded timeout while waiting for Pods")
    world.as_time_passes = Operator(world, judge=lambda item: slow if item["kind"] == "Kafka" else None).look
    with pytest.raises(TodoctlError) as failed:
        deploy(world)
    (words,) = [line for line in failed.value.detail if line.startswith("not ready")]
    assert "nothing changed for 120 s" in words
    assert words.endswith(f"Kafka/todo: {': '.join(slow)}")


def test_what_may_not_be_read_is_not_waited_for(world: World) -> None:
    """It is said, and pods are waited for as ever."""
    world.forbidden = {"kafkas"}
    ((state, detail),) = of("Strimzi", deploy(world))
    assert state == "ready"
    assert "cannot be read, so it is not waited for" in detail
    assert 'User "ann" cannot read' in detail


# Sidecars that end while Kafka is made.


def crashing(cluster: FakeCluster) -> list[Object]:
    """A Deployment whose one pod crashed for the second time."""
    crashed = pod("api-1", "api", ready=False, restarts=2, waiting="CrashLoopBackOff")
    ended = {"terminated": {"reason": "Error", "exitCode": 1}}
    crashed["status"]["containerStatuses"][1]["lastState"] = ended
    crashed["metadata"]["ownerReferences"] = [{"uid": "set"}]
    cluster.add(PODS, crashed)
    cluster.add(REPLICA_SETS, {"metadata": {"name": "set", "uid": "set", "ownerReferences": [{"uid": "api"}]}})
    status = {"observedGeneration": 1, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}
    metadata = {"name": "api", "uid": "api", "generation": 1}
    item = {"kind": "Deployment", "metadata": metadata, "spec": {"replicas": 1}, "status": status}
    return [cluster.add(DEPLOYMENTS, item)]


def made(cluster: FakeCluster) -> list[Object]:
    """Strimzi's resources, applied."""
    found = resources()
    for item in found:
        item["metadata"]["generation"] = 1
        cluster.add(STRIMZI[item["kind"]], item, namespace=WHERE)
    return found


def wait(cluster: FakeCluster, objects: list[Object], heals: float, seconds: float = 500) -> float:
    """When the rollout was done, with an operator that takes 20 s and a pod that is ready at `heals`."""
    now, operator = [0.0], Operator(cluster)

    def pass_by(pause: float) -> None:
        now[0] += pause
        operator.look(now[0])
        if now[0] >= heals:
            cluster.objects[PODS.path("todo", "api-1")]["status"] = pod("api-1", "api")["status"]

    clock = Clock(lambda: now[0], pass_by)
    for _ in Rollout(cluster.kube, clock, objects, 0.0).wait(seconds=seconds):
        pass
    return now[0]


def test_crashes_before_kafka_was_there_do_not_count() -> None:
    """A sidecar ends as long as Kafka does not know its account; Kubernetes starts it again, ever later."""
    cluster = FakeCluster()
    assert wait(cluster, [*made(cluster), *crashing(cluster)], heals=90) == 90


def test_crashes_that_go_on_do() -> None:
    """Kafka is ready for longer than Kubernetes may wait."""
    cluster = FakeCluster()
    with pytest.raises(TodoctlError, match="CrashLoopBackOff"):
        wait(cluster, [*made(cluster), *crashing(cluster)], heals=400)


def test_crashes_with_kafka_outside_count_at_once() -> None:
    """As ever."""
    cluster = FakeCluster()
    with pytest.raises(TodoctlError, match="CrashLoopBackOff"):
        wait(cluster, crashing(cluster), heals=1)


def test_the_hint_is_to_install_the_operator() -> None:
    """Where the wait ends by itself."""
    cluster = FakeCluster()
    clock = Clock(iter(range(100)).__next__, lambda _: None)
    with pytest.raises(WaitTimeoutError) as late:
        list(Rollout(cluster.kube, clock, made(cluster), 0.0).wait(seconds=3))
    assert late.value.hint == "todoctl install strimzi"


# Doctor and evidence.


def check(*items: Object) -> Finding:
    """What doctor says of these."""
    cluster = FakeCluster()
    for item in items:
        cluster.add(STRIMZI[item["kind"]], item, namespace=WHERE)
    return strimzi.finding(cluster.kube, KAFKA)


def test_doctor_says_what_the_operators_say() -> None:
    """With the command that helps."""
    kafka, topic = resource("Kafka", "todo"), resource("KafkaTopic", "task-events")
    assert check().seen == "there is no Kafka todo in kafka"
    unseen = check(kafka, topic)
    assert (unseen.verdict, unseen.fix) == ("fail", "todoctl install strimzi")
    kafka["status"] = {"conditions": [condition("Ready")]}
    topic["status"] = {"conditions": [condition("Ready", "False", "NotSupported", "Decreasing partitions")]}
    bad = check(kafka, topic)
    assert bad.seen == "KafkaTopic/task-events: NotSupported: Decreasing partitions"
    assert bad.fix == "kubectl describe kafkatopic task-events -n kafka"
    topic["status"] = {"conditions": [condition("Ready")]}
    assert check(kafka, topic) == Finding("kafka todo", "ok", "2 resources, each as its operator wants it")


def test_doctor_looks_where_there_is_one() -> None:
    """With Kafka outside nobody has to be let look at Strimzi's resources."""

    def unasked() -> Any:
        raise AssertionError("nothing is asked before a check runs")

    for file, wanted in (("values-local.yaml", True), ("values-cloud.yaml", False)):
        cluster, values = FakeCluster(), read_values(CHART, (CHART / file,))
        cluster.objects |= {"/version": {"gitVersion": "v1.34.0"}, NAMESPACES.path("", "todo"): {}}
        found = doctor.checks(cluster.kube, values, Stores(values, unasked, unasked, unasked))
        assert ("kafka todo" in {check.name for check in found}) == wanted


def test_doctor_may_lack_the_right() -> None:
    """That is no fault of the platform."""
    found = strimzi.finding(FakeCluster(forbidden={"kafkas"}).kube, KAFKA)
    assert (found.verdict, found.seen.startswith("cannot be read")) == ("warn", True)


@pytest.mark.parametrize("inside", [True, False])
def test_evidence_has_what_the_operators_said(world: World, tmp_path: Path, inside: bool) -> None:
    """Where there are such resources."""
    cluster, file = FakeCluster(), CHART / ("values-local.yaml" if inside else "values-cloud.yaml")
    made(cluster)[0]["status"] = {"conditions": [condition("NotReady", "True", *WRONG)]}
    values = cluster_values(read_values(CHART, (file,)))
    failed = world.revisions.history()[0]
    home = evidence.collect(tmp_path, cluster.kube, values, failed, {}, TodoctlError("no"))
    kept = {path.name: path.read_text() for path in home.iterdir()}
    assert ("strimzi.yaml" in kept) == inside
    assert (WRONG[1] in kept.get("strimzi.yaml", "")) == inside
    assert any("strimzi" in path for path in cluster.asked) == inside
