"""Which pods belong to which part of a platform in a cluster, and what can be seen of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from todoctl.adapters.kube.api import Kube, Object
from todoctl.adapters.kube.kinds import CONFIG_MAPS, POD_METRICS, PODS
from todoctl.core.cluster_values import Cluster
from todoctl.core.colours import CONFIG, Colour, colour_of, other, said_active
from todoctl.core.parts import Kind, sends_mail, sidecar_name
from todoctl.core.values import Values
from todoctl.errors import TodoctlError, UsageError

CHART = "todo"  # the chart's name, by which its pods are labelled
SIDECAR = "daprd"
_UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "k": 10**3, "M": 10**6, "G": 10**9, "m": 0.001}


@dataclass(frozen=True)
class Place:
    """Where the pods of a part are, and which of their containers it is ("" for the only one).

    `port` is the one that others reach it on, `wanted` how many pods there should be at least.
    """

    name: str
    kind: Kind
    namespace: str
    selector: str
    container: str
    address: str
    wanted: int = 1


def cluster_values(values: Values) -> Cluster:
    """The part of the values that only a cluster reads.

    Raises:
        UsageError: there is none.
    """
    if values.kubernetes is None:
        raise UsageError(
            "the values have no kubernetes section: a file takes the chart's away", hint="todoctl env show"
        )
    return values.kubernetes


def selector(component: str) -> str:
    """What finds the pods of a component of the chart."""
    return f"app.kubernetes.io/name={CHART},app.kubernetes.io/component={component}"


def places(values: Values, namespace: str) -> tuple[Place, ...]:
    """Every part that runs in the cluster, those that others need first; what lies outside has none."""
    cluster = cluster_values(values)
    found: list[Place] = []

    def ours(name: str, kind: Kind, port: int, *, container: str = "", component: str = "", wanted: int = 1) -> None:
        address = f"{component or name}.{namespace}:{port}"
        found.append(Place(name, kind, namespace, selector(component or name), container, address, wanted))

    if cluster.postgresql.development.enabled:
        ours("postgres", "database", 5432, component="postgresql")
    strimzi, dapr = cluster.kafka.strimzi, cluster.sidecars.control_plane_namespace
    if strimzi.enabled:
        pods = f"strimzi.io/cluster={strimzi.cluster},strimzi.io/kind=Kafka,strimzi.io/name={strimzi.cluster}-kafka"
        address = f"{strimzi.cluster}-kafka-bootstrap.{strimzi.namespace}:{9093 if strimzi.tls else 9092}"
        found.append(Place("kafka", "broker", strimzi.namespace, pods, "kafka", address, strimzi.nodes))
    if any(service.jobs for service in values.services.values()):
        address = f"dapr-scheduler-server.{dapr}:50006"
        found.append(Place("scheduler", "scheduler", dapr, "app=dapr-scheduler-server", "", address))
    if sends_mail(values) and cluster.mail.development.enabled:
        ours("mailsink", "mail", 1025)
    for name, service in values.services.items():
        wanted = replicas(cluster, name)
        ours(name, "service", service.port, container="app", wanted=wanted)
        ours(sidecar_name(name), "sidecar", 3500, container=SIDECAR, component=name, wanted=wanted)
    return tuple(found)


def replicas(cluster: Cluster, service: str) -> int:
    """The fewest pods that a service should have."""
    own = cluster.workloads.get(service)
    said = own.replicas if own is not None else None
    return (said if said is not None else cluster.workloads["default"].replicas) or 0


def active(kube: Kube) -> Colour:
    """The colour that Services lead to now."""
    return said_active(kube.get(CONFIG_MAPS, CONFIG))


class Pods:
    """The pods of a moment, asked for once for each namespace and selector; the idle colour's don't count."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._seen: dict[tuple[str, str], list[Object]] = {}
        self._memory: dict[str, dict[tuple[str, str], int]] = {}

    def of(self, place: Place) -> list[Object]:
        """The pods of a part, the oldest first; those that ended or are being deleted don't count."""
        key = (place.namespace, place.selector)
        if key not in self._seen:
            found = self._of_active(self._kube.items(PODS, selector=place.selector, namespace=place.namespace))
            self._seen[key] = sorted(filter(_counts, found), key=lambda pod: str(pod["metadata"]["creationTimestamp"]))
        return self._seen[key]

    def _of_active(self, pods: list[Object]) -> list[Object]:
        """Without those of the idle colour; which one is idle is asked only where there are two."""
        if len({colour_of(pod) for pod in pods} - {None}) < 2:
            return pods
        idle = other(active(self._kube))
        return [pod for pod in pods if colour_of(pod) != idle]

    def memory(self, place: Place) -> int | None:
        """Bytes that the part's containers use, None where nobody measures."""
        if place.namespace not in self._memory:
            self._memory[place.namespace] = _measured(self._kube, place.namespace)
        measured = self._memory[place.namespace]
        amounts = [measured.get((str(pod["metadata"]["name"]), container(pod, place))) for pod in self.of(place)]
        known = [amount for amount in amounts if amount is not None]
        return sum(known) if known else None


def container(pod: Object, place: Place) -> str:
    """The name of the part's container in a pod."""
    return place.container or str(pod["spec"]["containers"][0]["name"])


def state_of(pod: Object, place: Place) -> Mapping[str, Any]:
    """What the kubelet says of the part's container; {} where it says nothing yet."""
    statuses = pod.get("status", {}).get("containerStatuses") or []
    name = container(pod, place)
    return next((dict(status) for status in statuses if status["name"] == name), {})


def missing(pod: Object, place: Place) -> str | None:
    """What keeps the part's container in a pod from being ready, None where nothing does."""
    name = container(pod, place)
    if name not in {item["name"] for item in pod["spec"]["containers"]}:
        return "has no sidecar: Dapr did not inject one" if name == SIDECAR else f"has no container {name}"
    status = state_of(pod, place)
    if status.get("ready"):
        return None
    for kind in ("waiting", "terminated"):
        if said := (status.get("state") or {}).get(kind):
            return _words(said)
    return _blocked(pod) or "is not ready yet"


def started(pod: Object, place: Place) -> datetime | None:
    """When the part's container last started."""
    began = ((state_of(pod, place).get("state") or {}).get("running") or {}).get("startedAt")
    return datetime.fromisoformat(str(began)).astimezone(UTC) if began else None


def version(pod: Object, place: Place) -> str | None:
    """The version that runs: of our own parts the release's, of others their image's tag."""
    name = container(pod, place)
    image = next((str(item["image"]) for item in pod["spec"]["containers"] if item["name"] == name), "")
    if place.kind in {"service", "mail"}:
        return str(pod["metadata"].get("labels", {}).get("app.kubernetes.io/version") or "") or None
    tag = image.rpartition("/")[2].partition("@")[0].rpartition(":")[2]
    return tag if ":" in image.rpartition("/")[2] else None


def ready_pod(pods: Sequence[Object], place: Place) -> str | None:
    """The name of a pod that can be asked: a ready one, else one whose container at least runs."""
    ready = [pod for pod in pods if missing(pod, place) is None]
    running = [pod for pod in pods if started(pod, place) is not None]
    return next((str(pod["metadata"]["name"]) for pod in (*ready, *running)), None)


def quantity(text: str) -> int:
    """`64Mi` in bytes.

    Raises:
        ValueError: it is no quantity.
    """
    unit = next((unit for unit in _UNITS if text.endswith(unit)), "")
    return int(float(text.removesuffix(unit)) * _UNITS.get(unit, 1))


def _counts(pod: Object) -> bool:
    gone = pod["metadata"].get("deletionTimestamp")
    return not gone and pod.get("status", {}).get("phase") not in {"Succeeded", "Failed"}


def _measured(kube: Kube, namespace: str) -> dict[tuple[str, str], int]:
    """(pod, container) → bytes; {} where the cluster measures nothing."""
    try:
        return {
            (str(item["metadata"]["name"]), str(one["name"])): quantity(str(one["usage"]["memory"]))
            for item in kube.items(POD_METRICS, namespace=namespace)
            for one in item["containers"]
        }
    except (TodoctlError, ValueError, KeyError):
        return {}


def _words(said: Mapping[str, Any]) -> str:
    reason, message = str(said.get("reason", "")), str(said.get("message", "")).strip()
    code = f"exit code {said['exitCode']}" if "exitCode" in said else ""
    return ": ".join(part for part in (reason, code, message[:200]) if part) or "is waiting"


def _blocked(pod: Object) -> str | None:
    """What holds the whole pod: an init container, or no node with room."""
    for status in pod.get("status", {}).get("initContainerStatuses") or []:
        state = status.get("state") or {}
        if state.get("running"):
            return f"waits in {status['name']} for what it needs"
        if (said := state.get("waiting")) and said.get("reason") != "PodInitializing":
            return f"{status['name']}: {_words(said)}"
    conditions = pod.get("status", {}).get("conditions") or []
    bad = next((item for item in conditions if item["type"] == "PodScheduled" and item["status"] != "True"), None)
    return f"has no node: {bad.get('message', bad.get('reason', ''))}" if bad else None
