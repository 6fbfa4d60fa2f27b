"""Waits for a release on observed states: Strimzi's resources, its migration, every new pod; gives up early where there is no hope."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from todoctl.adapters.helm import Object
from todoctl.adapters.kube.answers import UnreachableError
from todoctl.adapters.kube.api import Kube
from todoctl.adapters.kube.kinds import DEPLOYMENTS, JOBS, PODS, REPLICA_SETS, STATEFUL_SETS
from todoctl.core.manifests import migration_job
from todoctl.core.pod_trouble import CRASH_LOOP, trouble
from todoctl.core.rollout import Progress, job_state, pod_words, workload_progress
from todoctl.errors import TodoctlError, WaitTimeoutError
from todoctl.operations.kubernetes.strimzi import Resources, resources
from todoctl.operations.operators.site import Clock
from todoctl.operations.steps import State, StepEvent

MIGRATION = "migration"
_EVERY = 1.0
_PATIENCE = 5  # how many times as long as one part may take everything may
_LINES = 12  # of a log, in an error
# Seconds that a pod which crashed while Kafka was made may still take to be started again, ever later by Kubernetes.
_BACK_OFF = 180.0
_KINDS = {"Deployment": DEPLOYMENTS, "StatefulSet": STATEFUL_SETS}


@dataclass
class Rollout:
    """What is waited for in one namespace, and what was told of it last; `since` is when the command began."""

    kube: Kube
    clock: Clock
    objects: Sequence[Object]
    since: float
    _told: dict[str, tuple[State, str]] = field(default_factory=dict)
    _excused: dict[str, float] = field(default_factory=dict)  # pod → until when its crashes don't count
    _strimzi: Resources = field(init=False)

    def __post_init__(self) -> None:
        self._strimzi = Resources(self.kube, self.clock, resources(self.objects))

    def wait(self, *, seconds: float) -> Iterator[StepEvent]:
        """Yield what changes until all of it is ready; `seconds` without any change are too long, or five times that in all.

        Raises:
            TodoctlError: the migration failed, a pod won't get ready, with the end of its log, or Strimzi refuses a resource.
            WaitTimeoutError: it took too long.
        """
        deadline = self.clock.now() + seconds
        limit = self.clock.now() + _PATIENCE * seconds
        while True:
            try:
                looks = self._look()
            except UnreachableError as error:
                # The API server may be away for a moment, as while it is upgraded.
                looks = [Progress("cluster", False, error.message)]
            changed = list(self._changes(looks))
            yield from changed
            if all(look.done for look in looks):
                return
            if changed:
                deadline = min(limit, self.clock.now() + seconds)
            if self.clock.now() >= deadline:
                raise _took_too_long([look for look in looks if not look.done], seconds)
            self.clock.pause(_EVERY)

    def _changes(self, looks: Sequence[Progress]) -> Iterator[StepEvent]:
        for look in looks:
            now: tuple[State, str] = ("ready" if look.done else "failed" if look.trouble else "starting", look.detail)
            if self._told.get(look.name) != now:
                self._told[look.name] = now
                yield StepEvent(look.name, now[0], look.detail, self.clock.now() - self.since)
            if look.trouble:
                raise TodoctlError(
                    f"{look.name}: {look.trouble}", detail=self._log(look.pod, look.trouble), hint="todoctl status"
                )

    def _look(self) -> list[Progress]:
        pods, sets = self.kube.items(PODS), self.kube.items(REPLICA_SETS)
        there = {
            (kind, item["metadata"]["name"]): {**item, "kind": kind}
            for kind, where in _KINDS.items()
            for item in self.kube.items(where)
        }
        found = self._strimzi.look()
        is_early = not all(look.done for look in found)
        found += [self._migration(pods)] if migration_job(self.objects) else []
        for item in self.objects:
            if item["kind"] not in _KINDS:
                continue
            workload = there.get((item["kind"], item["metadata"]["name"]))
            if workload is None:
                found.append(Progress(str(item["metadata"]["name"]), False, "is not there yet"))
            else:
                found.append(self._excusing(workload_progress(workload, sets, pods), is_early=is_early))
        return found

    def _excusing(self, look: Progress, *, is_early: bool) -> Progress:
        """Without its trouble where that is a crash because Kafka was not ready: until it knows their account, sidecars end."""
        if CRASH_LOOP not in look.trouble:
            return look
        if is_early:
            self._excused[look.pod] = self.clock.now() + _BACK_OFF
        is_excused = look.pod in self._excused and self.clock.now() < self._excused[look.pod]
        return replace(look, trouble="") if is_excused else look

    def _migration(self, pods: Sequence[Object]) -> Progress:
        job = migration_job(self.objects) or {}
        name = str(job["metadata"]["name"])
        state, words = job_state(self.kube.get(JOBS, name))
        own = [pod for pod in pods if pod["metadata"].get("labels", {}).get("batch.kubernetes.io/job-name") == name]
        newest = max(own, key=lambda pod: str(pod["metadata"]["creationTimestamp"]), default=None)
        if state == "done" or newest is None:
            return Progress(MIGRATION, state == "done", words, words if state == "failed" else "")
        pod = str(newest["metadata"]["name"])
        stuck = trouble(newest)
        if state == "failed" or stuck:
            return Progress(MIGRATION, False, words, stuck or words, pod)
        return Progress(MIGRATION, False, f"{words}; {pod_words(newest)}")

    def _log(self, pod: str, why: str) -> tuple[str, ...]:
        """The end of what was said by the container that ended badly."""
        if not pod:
            return ()
        with suppress(TodoctlError):
            found = self.kube.get(PODS, pod) or {"status": {}}
            for name in _ended_badly(found) or [why.partition(":")[0]]:
                for previous in (True, False):
                    with suppress(TodoctlError):
                        if lines := tuple(self.kube.logs(pod, name, tail=_LINES, previous=previous)):
                            return lines
        return ()


def _took_too_long(left: Sequence[Progress], seconds: float) -> WaitTimeoutError:
    words = "; ".join(f"{look.name}: {look.detail}{f' ({look.fix})' if look.fix else ''}" for look in left)
    fix = next((look.fix for look in left if look.fix), "todoctl status")
    return WaitTimeoutError(f"not ready, and nothing changed for {seconds:.0f} s: {words}", hint=fix)


def _ended_badly(pod: Object) -> list[str]:
    status = pod.get("status", {})
    names = []
    for item in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        states = ((item.get(key) or {}).get("terminated") or {} for key in ("state", "lastState"))
        if any(int(state.get("exitCode", 0)) != 0 for state in states):
            names.append(str(item["name"]))
    return names
