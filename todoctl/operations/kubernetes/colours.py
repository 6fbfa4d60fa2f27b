"""Switches between the two colours of a release in a cluster: on before Services lead there, off and drained after."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from todoctl.adapters import sidecar
from todoctl.adapters.helm import Object
from todoctl.adapters.kube.answers import ForbiddenError
from todoctl.adapters.kube.api import Kube
from todoctl.adapters.kube.kinds import CONFIG_MAPS, DEPLOYMENTS, PODS
from todoctl.core.colours import CONFIG, LABEL, Colour, deployments_of, other
from todoctl.core.pod_trouble import is_ready
from todoctl.core.values import Values
from todoctl.errors import RefusedError, WaitTimeoutError
from todoctl.operations.kubernetes.platform import ClusterPlatform
from todoctl.operations.kubernetes.pods import CHART, cluster_values
from todoctl.operations.kubernetes.reach import Reach
from todoctl.operations.kubernetes.restart import RESTARTED
from todoctl.operations.kubernetes.rollout import Rollout
from todoctl.operations.operators.site import Clock
from todoctl.operations.steps import StepEvent

_SWITCHED = "todoctl.dev/switched"
_COMPONENT = "app.kubernetes.io/component"
_SIDECAR_PORT = 3500
_AUTOSCALER = "HorizontalPodAutoscaler"
_EVERY = 0.3
TakesCalls = Callable[[int, str, str], bool]  # port, token and app id of a sidecar → whether it passes calls on


@dataclass(frozen=True)
class Colours:
    """The colours of one namespace."""

    kube: Kube
    clock: Clock
    platform: Callable[[Values], ClusterPlatform]
    seconds: float
    takes_calls: TakesCalls = sidecar.takes_calls

    def are_there(self, objects: Sequence[Object], colour: Colour) -> bool:
        """Whether every Deployment of the colour that a release has is there, with a pod that is available."""
        found = (self.kube.get(DEPLOYMENTS, str(item["metadata"]["name"])) for item in deployments_of(objects, colour))
        return all(item is not None and int(item.get("status", {}).get("availableReplicas", 0)) > 0 for item in found)

    def as_many(self, objects: Sequence[Object], colour: Colour, than: Colour) -> None:
        """Give the colour's Deployments as many pods as the other's have now; an autoscaler may have added some."""
        held = {_component(item): item for item in self.kube.items(DEPLOYMENTS, selector=f"{LABEL}={than}")}
        scaled = {str(item["spec"]["scaleTargetRef"]["name"]) for item in objects if item["kind"] == _AUTOSCALER}
        for item in deployments_of(objects, colour):
            name, there = str(item["metadata"]["name"]), held.get(_component(item))
            if name in scaled and there is not None:
                self.kube.patch(DEPLOYMENTS, name, {"spec": {"replicas": int(there["spec"].get("replicas", 1))}})

    def switch_on(self, colour: Colour, values: Values) -> Iterator[StepEvent]:
        """Let the colour's pods take events, jobs and calls; returns once each of their sidecars does.

        Raises:
            RefusedError: none of its pods is ready.
            WaitTimeoutError: one does not get to it.
        """
        yield StepEvent(colour, "starting", "is switched on", 0.0)
        self.kube.patch(CONFIG_MAPS, CONFIG, {"data": {colour: "on"}})
        hurried: set[str] = set()
        deadline = self.clock.now() + self.seconds
        with closing(self.platform(values)) as platform:
            token = self.kube.secret(cluster_values(values).secrets.dapr_token.name)["token"]
            while waiting := self._idle(colour, platform.reach, token, hurried):
                if self.clock.now() >= deadline:
                    raise WaitTimeoutError(
                        f"{colour} was not on within {self.seconds:.0f} s: {', '.join(waiting)}",
                        hint="todoctl logs NAME-daprd",
                    )
                self.clock.pause(_EVERY)
        yield StepEvent(colour, "ready", f"{len(hurried)} pods take events and jobs", 0.0)

    def drain(self, objects: Sequence[Object], colour: Colour) -> Iterator[StepEvent]:
        """Have the colour's pods end, which is how they finish what runs, and idle ones take their place.

        One service after the other, so that there is room to spare for those that work.
        """
        stamp = datetime.now(UTC).isoformat(timespec="milliseconds")
        annotated = {"spec": {"template": {"metadata": {"annotations": {RESTARTED: stamp}}}}}
        since = self.clock.now()
        for item in deployments_of(objects, colour):
            self.kube.patch(DEPLOYMENTS, str(item["metadata"]["name"]), annotated)
            yield from Rollout(self.kube, self.clock, [dict(item)], since).wait(seconds=self.seconds)

    def settle(self, objects: Sequence[Object], colour: Colour, values: Values) -> Iterator[StepEvent]:
        """Have only this colour work, of a release's objects: the other one is switched off, and its pods that work end.

        What works is asked for, not remembered: whoever switched may have been killed at any moment.
        """
        config, idle = self.kube.get(CONFIG_MAPS, CONFIG), other(colour)
        if config is None:
            return
        was_on = config.get("data", {}).get(idle) == "on"
        if was_on:
            self.kube.patch(CONFIG_MAPS, CONFIG, {"data": {idle: "off"}})
        if deployments_of(objects, idle) and (was_on or self._works(idle, values)):
            yield StepEvent(idle, "starting", "is switched off", 0.0)
            yield from self.drain(objects, idle)
            yield StepEvent(idle, "ready", "is idle", 0.0)

    def _works(self, colour: Colour, values: Values) -> bool:
        """Whether the sidecar of any of its pods passes work on; one that turned it on never turns it off."""
        pods = self._ready(colour)
        if not pods:
            return False
        token = self.kube.secret(cluster_values(values).secrets.dapr_token.name)["token"]
        with closing(self.platform(values)) as platform:
            return any(self._is_on(platform.reach, pod, token) for pod in pods)

    def _ready(self, colour: Colour) -> list[Object]:
        every = self.kube.items(PODS, selector=f"app.kubernetes.io/name={CHART},{LABEL}={colour}")
        return [pod for pod in every if is_ready(pod)]

    def _idle(self, colour: Colour, reach: Reach, token: str, hurried: set[str]) -> list[str]:
        """The pods of the colour whose sidecars do not take calls for them yet."""
        pods = self._ready(colour)
        if not pods:
            raise RefusedError(f"no pod of {colour} is ready", hint="todoctl deploy --strategy blue-green")
        for name in {str(pod["metadata"]["name"]) for pod in pods} - hurried:
            # A changed pod is looked at by its kubelet at once, and then sees the new ConfigMap; else, or where we may not
            # change pods, within a minute.
            annotation = {_SWITCHED: datetime.now(UTC).isoformat(timespec="milliseconds")}
            with suppress(ForbiddenError):
                self.kube.patch(PODS, name, {"metadata": {"annotations": annotation}})
            hurried.add(name)
        return [pod["metadata"]["name"] for pod in pods if not self._is_on(reach, pod, token)]

    def _is_on(self, reach: Reach, pod: Object, token: str) -> bool:
        """Asked through its own sidecar, which passes nothing on while the colour is idle."""
        port = int(reach.pod(str(pod["metadata"]["name"]), _SIDECAR_PORT).rpartition(":")[2])
        return self.takes_calls(port, token, _component(pod))


def _component(item: Mapping[str, Any]) -> str:
    return str(item["metadata"]["labels"][_COMPONENT])
