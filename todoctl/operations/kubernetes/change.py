"""Carries a release out in a cluster: recorded first, applied by Helm, waited for by us, and gone back from when it fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from todoctl.adapters.helm import Helm, Object, Upgrade
from todoctl.adapters.kube.api import Kube
from todoctl.core.releases import Manifest, Release, deployed, to_go_back_to
from todoctl.core.topics import wanted_topics
from todoctl.core.values import Values
from todoctl.errors import TodoctlError, UnhealthyError
from todoctl.operations.kafka import apply
from todoctl.operations.kubernetes import balancers, evidence
from todoctl.operations.kubernetes.platform import ClusterPlatform
from todoctl.operations.kubernetes.pods import cluster_values
from todoctl.operations.kubernetes.records import Records, history
from todoctl.operations.kubernetes.rollout import Rollout
from todoctl.operations.operators.site import Clock
from todoctl.operations.releases import Plan, Proof, begun, ended
from todoctl.operations.steps import Step, StepEvent, run_steps

RELEASE = "todo"  # the name of the chart's one release in a namespace


@dataclass(frozen=True)
class Candidate:
    """What a release is to be: values, the objects that Helm makes of them, and what its code says of itself.

    Without an `upgrade` it is an earlier revision that comes back.
    """

    values: Values
    objects: Sequence[Object]
    manifest: Manifest
    upgrade: Upgrade | None = None


@dataclass(frozen=True)
class Revisions:
    """A cluster's releases, and how they are seen and changed."""

    kube: Kube
    helm: Helm
    clock: Clock
    records: Records
    platform: Callable[[Values], ClusterPlatform]
    folder: Path  # where evidence is kept
    by: str
    seconds: float

    @property
    def namespace(self) -> str:
        """Where they are."""
        return self.kube.namespace

    def history(self) -> list[Release]:
        """Every release, oldest first."""
        return history(self.helm.history(RELEASE, self.namespace), self.records.all())

    def objects(self, revision: int) -> list[Object]:
        """The objects of a release as Helm keeps them."""
        return self.helm.objects(RELEASE, self.namespace, revision=revision)

    def values(self, revision: int) -> Values:
        """The values of a release, the chart's own below them.

        Raises:
            TodoctlError: they do not fit this todoctl's model.
        """
        found = self.helm.values(RELEASE, self.namespace, revision=revision, every=True)
        try:
            return Values.model_validate(found)
        except ValidationError as error:
            raise TodoctlError(
                f"the values of release {revision} do not fit this version of todoctl: {error.errors()[0]['msg']}",
                hint="use the todoctl that made it",
            ) from error

    def newest(self) -> int:
        """Helm's newest revision, 0 where there is none."""
        found = self.helm.release(RELEASE, self.namespace)
        return found.revision if found else 0

    def wait(self, objects: Sequence[Object]) -> Iterator[StepEvent]:
        """Wait until everything of a release is ready."""
        return Rollout(self.kube, self.clock, objects, self.clock.now()).wait(seconds=self.seconds)

    def return_to(self, revision: int, why: str) -> Iterator[StepEvent]:
        """Bring an earlier revision back as a new one, and wait for it."""
        target = next(item for item in self.history() if item.revision == revision)
        made, now = self.newest() + 1, datetime.now(UTC)
        changed: dict[str, Any] = {
            "revision": made,
            "state": "pending-rollback",
            "created_at": now,
            "by": self.by,
            "replaces": made - 1,
            "returns_to": revision,
            "finished_at": None,
            "result": "",
        }
        back = target.model_copy(update=changed)
        self.records.write(back, self.records.manifest(revision))
        yield StepEvent("helm", "starting", f"back to revision {revision}", 0.0)
        self.helm.rollback(RELEASE, self.namespace, revision, seconds=int(self.seconds))
        yield StepEvent("helm", "ready", f"revision {made} is revision {revision} again", 0.0)
        yield from self.wait(self.objects(made))
        self.records.write(ended(back, "deployed", f"back to {revision}: {why}"))

    def remove(self) -> Iterator[StepEvent]:
        """Remove a first release that failed; Helm keeps what must outlive it."""
        yield StepEvent("helm", "starting", "removes the first release", 0.0)
        self.helm.uninstall(RELEASE, self.namespace, seconds=int(self.seconds) + 60)
        yield StepEvent("helm", "ready", "the first release is removed", 0.0)


@dataclass
class ClusterChange:
    """A release in the making."""

    revisions: Revisions
    plan: Plan
    candidate: Candidate

    def outcome(self) -> Release:
        """The release that runs.

        Raises:
            TodoctlError: none runs.
        """
        release = deployed(self.revisions.history())
        if release is None:
            raise TodoctlError("no release runs", hint="todoctl history")
        return release

    def carry_out(self, prove: Proof | None) -> Iterator[StepEvent]:
        """Record, topics, Helm, migration, pods, proof; yields what happens.

        Raises:
            TodoctlError: it failed and what ran before runs again; the evidence is in the folder that the message names.
            UnhealthyError: it failed, and so did going back.
            WaitTimeoutError: it runs, and the cloud gave no address to one of its Services.
        """
        began = self.revisions.clock.now()
        release = self._begin()
        try:
            yield from self._timed(self._switch(release), began)
            if prove:
                values = self.candidate.values
                yield from self._timed(run_steps([Step("smoke", lambda _tell: prove(values))]), began)
        except (TodoctlError, OSError) as error:
            yield from self._timed(self._go_back(release, error), began)
        result = f"back to {release.returns_to}" if release.returns_to else "deployed"
        self.revisions.records.write(ended(release, "deployed", result))
        self.revisions.records.forget_oldest()
        cluster, revisions = cluster_values(self.candidate.values), self.revisions
        yield from balancers.wait(
            revisions.kube, cluster, self.candidate.objects, revisions.clock, seconds=revisions.seconds
        )

    def _timed(self, events: Iterator[StepEvent], began: float) -> Iterator[StepEvent]:
        """With the seconds since the whole began."""
        for event in events:
            yield replace(event, elapsed=self.revisions.clock.now() - began)

    def _begin(self) -> Release:
        manifest, revisions = self.candidate.manifest, self.revisions
        release = begun(self.plan, manifest, revisions.history(), revision=revisions.newest() + 1, by=revisions.by)
        revisions.records.write(release, manifest)
        return release

    def _switch(self, release: Release) -> Iterator[StepEvent]:
        """In this thread, so that an interruption ends Helm, too, before anything is undone."""
        if self.candidate.upgrade and not cluster_values(self.candidate.values).kafka.strimzi.enabled:
            yield StepEvent("topics", "starting", "looks at the broker", 0.0)
            yield StepEvent("topics", "ready", self._topics(), 0.0)
        yield StepEvent("helm", "starting", f"applies revision {release.revision}", 0.0)
        yield StepEvent("helm", "ready", self._apply(release), 0.0)
        yield from self.revisions.wait(self.candidate.objects)

    def _topics(self) -> str:
        """Services must not find a broker without their topics, which nobody in the cluster makes."""
        platform = self.revisions.platform(self.candidate.values)
        try:
            broker, wanted = platform.broker(), wanted_topics(self.candidate.values)
            found = apply.plan(broker, wanted)
            safe = [change for change in found if change.verdict == "safe"]
            made = len(list(apply.execute(broker, wanted, safe)))
        finally:
            platform.close()
        left = [f"{change.topic} {change.setting}" for change in found if change.verdict != "safe"]
        return f"{made} changes made" + (f"; left for todoctl topics apply: {', '.join(left)}" if left else "")

    def _apply(self, release: Release) -> str:
        revisions, upgrade = self.revisions, self.candidate.upgrade
        if upgrade:
            made = revisions.helm.upgrade(upgrade).revision
        else:
            revisions.helm.rollback(RELEASE, revisions.namespace, release.returns_to, seconds=int(revisions.seconds))
            made = revisions.newest()
        if made != release.revision:
            raise TodoctlError(
                f"Helm made revision {made} where {release.revision} was expected: somebody else deploys with helm",
                hint="todoctl history",
            )
        return f"revision {made} applied"

    def _go_back(self, release: Release, error: TodoctlError | OSError) -> Iterator[StepEvent]:
        revisions = self.revisions
        if revisions.newest() < release.revision:
            # Helm refused before it changed anything.
            revisions.records.forget(release.revision)
            raise error
        folder = self._evidence(release, error)
        yield StepEvent("evidence", "ready", folder, 0.0)
        detail = (str(error), *getattr(error, "detail", ()), f"evidence: {folder}")
        good = self.plan.runs or _ran_well(revisions.history())
        before = f"release {good}" if good else "nothing"
        try:
            if good:
                yield from revisions.return_to(good, f"release {release.revision} failed")
            else:
                yield from revisions.remove()
        except (TodoctlError, OSError) as second:
            raise UnhealthyError(
                f"release {release.revision} failed, and {before} does not come back: {second}",
                detail=detail,
                hint="todoctl status; todoctl unlock",
            ) from error
        revisions.records.write(ended(release, "failed", f"{error}; evidence: {folder}"))
        now = f"{before} runs again" if good else "nothing ran before, so it was removed"
        raise TodoctlError(
            f"release {release.revision} failed; {now}", detail=detail, hint=f"look into {folder}"
        ) from error

    def _evidence(self, release: Release, error: TodoctlError | OSError) -> str:
        revisions, values = self.revisions, self.candidate.values
        platform = revisions.platform(values)
        told = {
            "plan.json": self.plan.document,
            "status.json": lambda: platform.status().document(),
            "versions.json": lambda: {
                "kubernetes": revisions.kube.version(),
                "images": dict(self.candidate.manifest.files),
                "revisions": [item.model_dump(mode="json") for item in revisions.history()],
            },
        }
        try:
            return str(evidence.collect(revisions.folder, revisions.kube, cluster_values(values), release, told, error))
        except OSError as full:
            # A full disk must not keep the platform from going back.
            return f"could not be written: {full}"
        finally:
            platform.close()


def _ran_well(history: Sequence[Release]) -> int | None:
    """The newest release that ran well once, where none is said to run."""
    found = to_go_back_to(history)
    return found.revision if found else None
