"""Carries a release out in a cluster: recorded first, applied by Helm, waited for by us, and gone back from when it fails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from todoctl.adapters.helm import Upgrade
from todoctl.core.colours import other
from todoctl.core.releases import Release, Strategy, deployed, to_go_back_to
from todoctl.core.topics import wanted_topics
from todoctl.errors import TodoctlError, UnhealthyError
from todoctl.operations.kafka import apply
from todoctl.operations.kubernetes import balancers, evidence
from todoctl.operations.kubernetes.pods import active, cluster_values
from todoctl.operations.kubernetes.revisions import RELEASE, Beside, Candidate, Revisions
from todoctl.operations.releases import Plan, Proof, begun, ended
from todoctl.operations.steps import Step, StepEvent, run_steps


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
        began, before = self.revisions.clock.now(), None
        release = self._begin()
        try:
            if self.candidate.beside:
                yield from self._timed(self._make_ready(release, self.candidate.beside, prove), began)
                before, release = release, self._begin()
                before = before.model_copy(update={"prepares": release.revision})
                self.revisions.records.write(before)
            yield from self._timed(self._switch(release), began)
            if prove:
                yield from self._timed(self._proven(prove), began)
        except (TodoctlError, OSError) as error:
            yield from self._timed(self._go_back(before or release, release, error), began)
        self.revisions.records.write(ended(release, "deployed", self._result(release)))
        if before:
            self.revisions.records.write(ended(before, "superseded", f"made {release.colour} ready"))
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
        strategy: Strategy = "blue-green" if self.candidate.beside else "rolling"
        release = release.model_copy(update={"strategy": strategy, "colour": self.candidate.colour})
        revisions.records.write(release, manifest)
        return release

    def _make_ready(self, release: Release, beside: Beside, prove: Proof | None) -> Iterator[StepEvent]:
        """The other colour, idle: migrated, as many pods as run now, seen to work by its preview."""
        colour, values = self.candidate.colour, self.candidate.values
        yield from self._before_helm()
        yield StepEvent("helm", "starting", f"applies revision {release.revision}: {colour}, idle", 0.0)
        yield StepEvent("helm", "ready", self._apply(release, beside.upgrade), 0.0)
        self.revisions.colours.as_many(beside.objects, colour, other(colour))
        yield from self.revisions.wait(beside.objects)
        if prove:
            yield from run_steps([Step("preview", lambda _tell: prove(values, preview=True))])

    def _switch(self, release: Release) -> Iterator[StepEvent]:
        """In this thread, so that an interruption ends Helm, too, before anything is undone."""
        candidate, before = self.candidate, active(self.revisions.kube)
        if candidate.upgrade and not candidate.beside:
            yield from self._before_helm()
        yield from self.revisions.crossing(candidate.objects, candidate.values)
        yield StepEvent("helm", "starting", f"applies revision {release.revision}", 0.0)
        yield StepEvent("helm", "ready", self._apply(release, candidate.upgrade), 0.0)
        if before != candidate.colour:
            yield from self.revisions.colours.drain(candidate.objects, before)
        yield from self.revisions.wait(candidate.objects)

    def _proven(self, prove: Proof) -> Iterator[StepEvent]:
        values = self.candidate.values
        yield from run_steps([Step("smoke", lambda _tell: prove(values))])

    def _result(self, release: Release) -> str:
        if release.returns_to:
            return f"back to {release.returns_to}"
        return f"switched to {release.colour}" if self.candidate.beside else "deployed"

    def _before_helm(self) -> Iterator[StepEvent]:
        if not cluster_values(self.candidate.values).kafka.strimzi.enabled:
            yield StepEvent("topics", "starting", "looks at the broker", 0.0)
            yield StepEvent("topics", "ready", self._topics(), 0.0)

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

    def _apply(self, release: Release, upgrade: Upgrade | None) -> str:
        revisions = self.revisions
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

    def _go_back(self, first: Release, release: Release, error: TodoctlError | OSError) -> Iterator[StepEvent]:
        revisions = self.revisions
        newest = revisions.newest()
        if newest < first.revision:
            # Helm refused before it changed anything; the colour that comes back may have been switched on by then.
            yield from revisions.settle(deployed(revisions.history()))
            revisions.records.forget(release.revision)
            raise error
        if newest < release.revision:
            # The switch did not get to Helm: its number is the way back's.
            revisions.records.forget(release.revision)
            release = first
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
        revisions.records.fail_pending(f"{error}; evidence: {folder}", since=first.revision)
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
