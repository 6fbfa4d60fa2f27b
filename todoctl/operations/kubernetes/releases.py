"""Releases in a cluster: made from the chart and values at hand or from an earlier one, compared, judged, carried out, unlocked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from todoctl.adapters import chart
from todoctl.adapters.helm import Helm
from todoctl.adapters.kube.answers import ForbiddenError
from todoctl.adapters.kube.api import Kube
from todoctl.adapters.kube.kinds import CONFIG_MAPS, DEPLOYMENTS, JOBS, LEASES, NAMESPACES, PODS, SECRETS
from todoctl.adapters.whoami import whoami
from todoctl.core import releases as rules
from todoctl.core.colours import other
from todoctl.core.manifests import image_differences, images_of, manifest_differences
from todoctl.core.release_diff import Difference, differences, migration_differences
from todoctl.core.releases import Manifest, Migration, Obstacle, Release
from todoctl.core.values import Values
from todoctl.errors import MissingError, RefusedError, TodoctlError, UnhealthyError
from todoctl.operations.kubernetes import candidates, lock, unlocking
from todoctl.operations.kubernetes.change import ClusterChange
from todoctl.operations.kubernetes.foreseen import foreseeing
from todoctl.operations.kubernetes.gate import Gate, Head
from todoctl.operations.kubernetes.platform import ClusterPlatform
from todoctl.operations.kubernetes.pods import cluster_values
from todoctl.operations.kubernetes.records import Records
from todoctl.operations.kubernetes.revisions import RELEASE, Candidate, Revisions
from todoctl.operations.kubernetes.serving import serving
from todoctl.operations.operators.site import Clock
from todoctl.operations.releases import Plan, require_none_pending, require_ran_well
from todoctl.operations.steps import StepEvent
from todoctl.settings import Settings

# What everyone who changes a release has to be let do.
_RIGHTS = (
    *(("create", kind) for kind in (SECRETS, CONFIG_MAPS, DEPLOYMENTS, JOBS, PODS, LEASES)),
    *(("patch", kind) for kind in (SECRETS, CONFIG_MAPS, DEPLOYMENTS, LEASES)),
    *(("list", kind) for kind in (PODS, DEPLOYMENTS)),
)
_LEVELS = ("enforce", "warn", "audit")


@dataclass(frozen=True)
class ClusterReleases:
    """The releases of an environment in a cluster that has answered; `files` are laid over the chart's own values.

    `seconds` is how long a part may take to be ready. The files are read when they are needed: a mistake in them must not
    keep anybody from going back.
    """

    settings: Settings
    kube: Kube
    helm: Helm
    files: tuple[Path, ...]
    environ: Mapping[str, str]
    seconds: float

    @property
    def revisions(self) -> Revisions:
        """What there is."""
        me = whoami()
        return Revisions(
            kube=self.kube,
            helm=self.helm,
            clock=Clock(),
            records=Records(self.kube, RELEASE),
            platform=self._platform,
            folder=self.settings.state / "evidence",
            by=f"{me.user}@{me.host}",
            seconds=self.seconds,
        )

    def history(self) -> list[Release]:
        """Every release, oldest first."""
        return self.revisions.history()

    @contextmanager
    def alone(self, what: str) -> Iterator[None]:
        """Work as the only one on the namespace, from any machine; a deploy makes the namespace where there is none.

        Raises:
            RefusedError: somebody else works; it says who.
            MissingError: we may not do what it takes.
            UnhealthyError: there is no namespace.
        """
        if what == "deploy":
            # Before anything is made, so that a mistake in them leaves nothing behind.
            self._values_at_hand()
        self._require_rights()
        if not self.kube.has_namespace():
            if what != "deploy":
                raise self._not_deployed()
            self._make_namespace()
        with lock.held(self.kube, f"{RELEASE}-releases", what, whoami()):
            yield

    def diff(self, revision: int | None) -> Plan:
        """What a deploy, or a rollback to `revision`, would change; nothing is judged."""
        if revision is not None:
            target = self._target(revision)
            candidate = candidates.earlier(self.revisions, target)
            return self._plan(candidate, target, Head(candidate.manifest.database.needs), ())
        candidate = self._at_hand()
        return self._plan(candidate, None, self._head(candidate), ())

    @contextmanager
    def deploy(self, strategy: rules.Strategy = "rolling") -> Iterator[ClusterChange]:
        """A new release of the chart and values at hand.

        Raises:
            RefusedError: another one is pending, or what runs can't stay beside it.
            UsageError: the values do not fit.
            TodoctlError: an image can't be had.
        """
        self._require_none_pending("deploy")
        candidate = self._at_hand()
        head, history = self._head(candidate), self.history()
        before, gate = self._running_manifest(), Gate(self._platform, candidate.values)
        found = gate.against_deploy(candidate.manifest, before, head, self._chain(), history)
        plan = self._plan(candidate, None, head, tuple(found))
        if plan.differences:
            candidate = candidates.by_strategy(self.revisions, self.settings.chart, self.files, candidate, strategy)
        if candidate.beside:
            words = f"{candidate.colour} is made ready beside {other(candidate.colour)}, then switched to"
            switch = Difference("manifests", "colour", "changed", "low", words)
            plan = replace(plan, differences=(*plan.differences, switch))
        yield ClusterChange(self.revisions, plan, candidate)

    @contextmanager
    def rollback(self, revision: int | None) -> Iterator[ClusterChange]:
        """A new release with the objects and values of an earlier one; the schema stays.

        Raises:
            UsageError: there is no such release.
            RefusedError: another one is pending, or there is none to go back to.
        """
        self._require_none_pending("rollback")
        target = self._target(revision)
        candidate = candidates.earlier(self.revisions, target)
        running = rules.deployed(self.history())
        values = self.revisions.values(running.revision) if running else candidate.values
        gate = Gate(self._platform, values)
        obstacles: list[Obstacle] = list(gate.against_rollback(candidate.manifest, gate.head(), self._chain(), running))
        obstacles += self._gone(candidate, target)
        needs = Head(candidate.manifest.database.needs)
        yield ClusterChange(self.revisions, self._plan(candidate, target, needs, tuple(obstacles)), candidate)

    def unlock(self) -> Iterator[StepEvent]:
        """End a release whose deploy was killed: what ran before runs again, or nothing where nothing did.

        Raises:
            UsageError: no release is pending.
            TodoctlError: a part does not get ready.
        """
        return unlocking.unlock(self.revisions)

    def _require_none_pending(self, what: str) -> None:
        try:
            require_none_pending(self.history(), what)
        except RefusedError as error:
            raise RefusedError(error.message, detail=(serving(self.kube).words(),), hint=error.hint) from error

    def _gone(self, candidate: Candidate, target: int) -> list[Obstacle]:
        """Whether the colour that the candidate runs as has no pods any more: Services can't be turned to it."""
        colour = candidate.colour
        if self.revisions.can_turn_to(candidate.objects):
            return []
        return [
            Obstacle(
                "release",
                f"release {target} runs as {colour}, whose pods are gone",
                "todoctl deploy --strategy blue-green with its images makes them anew beside those that run",
                can_be_forced=False,
            )
        ]

    def _at_hand(self) -> Candidate:
        values = self._values_at_hand()
        if not self.kube.has_namespace():
            return candidates.foretold(self.revisions, self.settings.chart, values, self.files, self.environ)
        before = self._running_manifest()
        return candidates.at_hand(self.revisions, self.settings.chart, values, self.files, before)

    def _values_at_hand(self) -> Values:
        values = chart.read_values(self.settings.chart, self.files)
        cluster_values(values)
        return values

    def _plan(self, candidate: Candidate, returns_to: int | None, head: Head, obstacles: tuple[Obstacle, ...]) -> Plan:
        running = rules.deployed(self.history())
        kind, after = "rollback" if returns_to else "deploy", candidate.manifest
        if running is None:
            count = f"{len(candidate.objects)} objects"
            first = Difference("manifests", count, "added", "none", "no release runs now")
            return Plan(
                kind,  # type: ignore[arg-type]
                None,
                returns_to,
                (first, *migration_differences(after, head.revision)),
                obstacles,
            )
        objects, before = self.revisions.objects(running.revision), self._running_manifest()
        found = image_differences(images_of(objects), images_of(candidate.objects))
        if before is None:
            found += migration_differences(after, head.revision)
        else:
            bare = after.model_copy(update={"files": {}})
            found += differences(before.model_copy(update={"files": {}}), bare, head=head.revision)
        found += manifest_differences(objects, candidate.objects)
        return Plan(kind, running.revision, returns_to, tuple(found), obstacles)  # type: ignore[arg-type]

    def _running_manifest(self) -> Manifest | None:
        """What runs, with its values; None where nothing does, or helm alone made it."""
        running = rules.deployed(self.history())
        manifest = self.revisions.records.manifest(running.revision) if running else None
        if running is None or manifest is None:
            return None
        values = self.revisions.values(running.revision).model_dump(mode="json", by_alias=True)
        return manifest.model_copy(update={"values": values})

    def _head(self, candidate: Candidate) -> Head:
        """The database's schema; where it can't be asked from here, the one that what runs brought it to."""
        found = Gate(self._platform, candidate.values).head()
        running = rules.deployed(self.history())
        if found.unknown and running is not None and running.schema_revision:
            return Head(running.schema_revision)
        return found

    def _chain(self) -> tuple[Migration, ...]:
        """All migrations that any release here knows, oldest first; of two with as many, as the newer one has them.

        One that failed counts, too: the database may have its migrations.
        """
        records = self.revisions.records
        manifests = (records.manifest(revision) for revision in sorted(records.all(), reverse=True)[:10])
        return max((item.database.migrations for item in manifests if item), key=len, default=())

    def _target(self, revision: int | None) -> int:
        history = self.history()
        running = rules.deployed(history)
        if revision is None:
            # What a rollback brought back is what runs.
            same = running.returns_to if running else None
            found = rules.to_go_back_to(item for item in history if item.revision != same)
            if found is None:
                raise RefusedError("there is no earlier release to go back to", hint="todoctl history")
            revision = found.revision
        require_ran_well(history, revision)
        return revision

    def _require_rights(self) -> None:
        kube = self.kube
        missing = [f"{verb} {kind.plural}" for verb, kind in _RIGHTS if not kube.may(verb, kind)]
        if missing:
            raise MissingError(
                f"the context {kube.access.context!r} may not do what a release takes in {kube.namespace}: "
                + ", ".join(missing),
                hint=f"ask for the role admin in it; kubectl auth can-i --list -n {kube.namespace}",
            )

    def _make_namespace(self) -> None:
        kube = self.kube
        labels = {f"pod-security.kubernetes.io/{level}": "restricted" for level in _LEVELS}
        document = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": kube.namespace, "labels": labels}}
        try:
            kube.create(NAMESPACES, document)
        except ForbiddenError as error:
            raise MissingError(
                f"there is no namespace {kube.namespace}, and the context {kube.access.context!r} may not make it",
                hint=f"have it made: kubectl create namespace {kube.namespace}",
            ) from error

    def _not_deployed(self) -> TodoctlError:
        name = self.settings.name
        return UnhealthyError(
            f"the environment {name!r} is not deployed: there is no namespace {self.kube.namespace}",
            hint=f"todoctl -e {name} deploy",
        )

    def _platform(self, values: Values) -> ClusterPlatform:
        return ClusterPlatform(self.settings, values, self.environ, foreseeing(cluster_values(values)))
