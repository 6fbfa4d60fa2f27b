"""Strimzi's resources of a release: waited for beside its pods, looked at by doctor, kept as evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from todoctl.adapters.kube.answers import ForbiddenError
from todoctl.adapters.kube.api import Kube, Object
from todoctl.adapters.kube.kinds import PODS, Kind
from todoctl.core.cluster_values import Strimzi
from todoctl.core.pod_trouble import is_ready
from todoctl.core.rollout import Progress, pod_words
from todoctl.core.strimzi import Said, said
from todoctl.operations.checks import Finding
from todoctl.operations.kubernetes.pods import CHART
from todoctl.operations.operators.site import Clock

INSTALL = "todoctl install strimzi"
_PLURALS = {
    "Kafka": "kafkas",
    "KafkaNodePool": "kafkanodepools",
    "KafkaTopic": "kafkatopics",
    "KafkaUser": "kafkausers",
}
_CLUSTER = "strimzi.io/cluster"
# What the operator refuses must be refused for so long: it may have looked at one resource before another was there.
_PATIENCE = 30.0


def resources(objects: Sequence[Object]) -> list[Object]:
    """Those among the objects of a release; none where Kafka lies outside."""
    return [item for item in objects if item["kind"] in _PLURALS]


def there(kube: Kube, api: str, namespace: str, cluster: str) -> dict[tuple[str, str], Object]:
    """Those of our Kafka cluster as the server has them, by kind and name.

    Raises:
        ForbiddenError: we may not look.
    """
    ours = f"app.kubernetes.io/name={CHART},{_CLUSTER}={cluster}"
    return {
        (kind, str(item["metadata"]["name"])): {**item, "kind": kind}
        for kind, plural in _PLURALS.items()
        for item in kube.items(Kind(api, plural), selector=ours, namespace=namespace)
    }


def of_cluster(kube: Kube, strimzi: Strimzi) -> list[Object]:
    """Those that the values ask for, as the server has them.

    Raises:
        ForbiddenError: we may not look.
    """
    return list(there(kube, strimzi.api_version, strimzi.namespace, strimzi.cluster).values())


@dataclass
class Resources:
    """A release's resources while they are waited for."""

    kube: Kube
    clock: Clock
    wanted: Sequence[Object]
    _refused: dict[str, tuple[str, float]] = field(default_factory=dict)  # what was said of it, and since when

    def look(self) -> list[Progress]:
        """How far each of them is; nothing is asked where there are none, and what we may not read is not waited for."""
        if not self.wanted:
            return []
        api, meta = str(self.wanted[0]["apiVersion"]), self.wanted[0]["metadata"]
        namespace, cluster = str(meta["namespace"]), str(meta["labels"][_CLUSTER])
        try:
            found = there(self.kube, api, namespace, cluster)
        except ForbiddenError as error:
            return [Progress("Strimzi", True, f"cannot be read, so it is not waited for: {error.message}")]
        pods = self._pods(namespace, cluster)
        keys = [(str(item["kind"]), str(item["metadata"]["name"])) for item in self.wanted]
        return [self._progress(key, said(found.get(key)), pods) for key in keys]

    def _pods(self, namespace: str, cluster: str) -> list[Object] | None:
        """The brokers and what else Strimzi runs for the cluster; None where we may not look."""
        try:
            return self.kube.items(PODS, selector=f"{_CLUSTER}={cluster}", namespace=namespace)
        except ForbiddenError:
            return None

    def _progress(self, key: tuple[str, str], now: Said, pods: list[Object] | None) -> Progress:
        kind, name = key[0], "/".join(key)
        if kind != "Kafka":
            return Progress(name, now.ready, now.words, self._trouble(name, now))
        # What the operator said of a Kafka stands until it is done with the next attempt, and that shows in pods only.
        is_busy = pods is None or not all(is_ready(pod) for pod in pods)
        detail = now.words if now.ready else "; ".join(filter(None, (now.words, _pods_words(pods or ()))))
        trouble = self._trouble(name, now, is_busy=is_busy)
        return Progress(name, now.ready, detail, trouble, fix=INSTALL if now.unseen else "")

    def _trouble(self, name: str, now: Said, *, is_busy: bool = False) -> str:
        """The operator's words once it has said them for so long that waiting won't help."""
        if not now.refused or is_busy:
            self._refused.pop(name, None)
            return ""
        words, since = self._refused.get(name, ("", 0.0))
        if words != now.words:
            words, since = self._refused[name] = (now.words, self.clock.now())
        return words if self.clock.now() - since >= _PATIENCE else ""


def finding(kube: Kube, strimzi: Strimzi) -> Finding:
    """What the operators say of the resources of our Kafka."""
    check, where = f"kafka {strimzi.cluster}", strimzi.namespace
    try:
        found = there(kube, strimzi.api_version, where, strimzi.cluster)
    except ForbiddenError as error:
        return Finding(check, "warn", f"cannot be read: {error.message}", "ask who runs the cluster")
    if ("Kafka", strimzi.cluster) not in found:
        return Finding(check, "fail", f"there is no Kafka {strimzi.cluster} in {where}", "todoctl deploy")
    bad = {key: now for key, now in ((key, said(item)) for key, item in found.items()) if not now.ready}
    if not bad:
        return Finding(check, "ok", f"{len(found)} resources, each as its operator wants it")
    seen = "; ".join(f"{kind}/{name}: {now.words}" for (kind, name), now in bad.items())
    (kind, name), first = next(iter(bad.items()))
    look = f"kubectl describe {kind.lower()} {name} -n {where}"
    return Finding(check, "fail", seen, INSTALL if first.unseen and kind == "Kafka" else look)


def _pods_words(pods: Sequence[Object]) -> str:
    waiting = [pod for pod in pods if not is_ready(pod)]
    if not pods:
        return ""
    return "; ".join([f"{len(pods) - len(waiting)} of {len(pods)} pods ready", *(pod_words(pod) for pod in waiting)])
