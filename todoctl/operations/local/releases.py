"""Releases on this machine: made from the checkout or from an earlier one, compared, judged, carried out, unlocked."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from todoctl.adapters import postgres
from todoctl.adapters.processes import identity, supervisor
from todoctl.adapters.release_store import Store
from todoctl.adapters.whoami import whoami
from todoctl.core import releases as rules
from todoctl.core.parts import OWNER_ROLE
from todoctl.core.release_diff import differences
from todoctl.core.releases import Manifest, Obstacle, Release
from todoctl.core.site import Folders
from todoctl.core.values import Values
from todoctl.errors import RefusedError, UnhealthyError, UsageError
from todoctl.operations.kafka import backlog
from todoctl.operations.local import candidate, readiness, running, state
from todoctl.operations.local.assembly import Assembly
from todoctl.operations.local.candidate import Candidate
from todoctl.operations.local.change import LocalChange
from todoctl.operations.local.switch import Switch
from todoctl.operations.local.up import Up
from todoctl.operations.releases import Plan, require_none_pending, require_ran_well
from todoctl.operations.steps import StepEvent
from todoctl.settings import Settings


@dataclass(frozen=True)
class LocalReleases:
    """The releases of an environment of processes; `seconds` is how long a part may take.

    The chart's values are read when they are needed: a mistake in them must not keep anybody from going back.
    """

    settings: Settings
    read_values: Callable[[], Values]
    environ: Mapping[str, str]
    seconds: float

    @property
    def store(self) -> Store:
        """Where they lie."""
        return Store(self.settings.state)

    def history(self) -> list[Release]:
        """Every release, oldest first."""
        return self.store.history()

    def alone(self, what: str) -> AbstractContextManager[None]:
        """Work as the only one; a RefusedError names who else does."""
        return state.lock(self.settings, what, seconds=0)

    def diff(self, revision: int | None) -> Plan:
        """What a deploy, or a rollback to `revision`, would change; nothing is judged."""
        self._require_up()
        if revision is not None:
            return self._plan(self.store.manifest(self._target(revision)), revision, ())
        with self._from_checkout() as found:
            return self._plan(found.manifest, None, ())

    @contextmanager
    def deploy(self, strategy: rules.Strategy = "rolling") -> Iterator[LocalChange]:
        """A new release of the checkout.

        Raises:
            UsageError: blue-green was asked for.
            RefusedError: another one is pending.
            UnhealthyError: the platform is not up.
            TodoctlError: the code can't be loaded.
        """
        if strategy == "blue-green":
            raise UsageError(
                f"the environment {self.settings.name!r} has no colours: one sidecar for each service leaves no second place",
                hint="todoctl deploy replaces each service behind its health checks; blue-green is for clusters",
            )
        require_none_pending(self.history(), "deploy")
        self._require_up()
        with self._from_checkout() as found:
            head = self._head()
            migrates = bool(rules.pending_migrations(found.manifest.database, head))
            plan = self._plan(found.manifest, None, tuple(self._against_deploy(found.manifest, head)))
            yield LocalChange(self.store, plan, found, self._switch_to, _who(), migrates)

    @contextmanager
    def rollback(self, revision: int | None) -> Iterator[LocalChange]:
        """A new release with the code and values of an earlier one; the schema stays.

        Raises:
            UsageError: there is no such release.
            RefusedError: another one is pending, or there is none to go back to.
            UnhealthyError: the platform is not up.
        """
        require_none_pending(self.history(), "rollback")
        target = self._target(revision)
        self._require_up()
        manifest = self.store.manifest(target)
        plan = self._plan(manifest, target, tuple(self._against_rollback(target, manifest)))
        with candidate.from_release(self.store, target) as found:
            yield LocalChange(self.store, plan, found, self._switch_to, _who(), migrates=False)

    def unlock(self) -> Iterator[StepEvent]:
        """End a release whose deploy was killed: what ran before runs again.

        Raises:
            UsageError: no release is pending.
            TodoctlError: a part does not get ready.
        """
        stuck = rules.pending(self.history())
        if stuck is None:
            raise UsageError("no release is pending: there is nothing to unlock", hint="todoctl history")
        if self._is_up():
            values = Values.model_validate(self.store.manifest(stuck.revision).values)
            yield from self._switch_to(self.store.code(stuck.revision), values).back()
        words = f"did not end; {_who()} unlocked it"
        ended = {"state": "failed", "finished_at": datetime.now(UTC), "result": words}
        self.store.record(stuck.model_copy(update=ended))

    def _plan(self, manifest: Manifest, returns_to: int | None, obstacles: tuple[Obstacle, ...]) -> Plan:
        now = self.store.running()
        before = self.store.manifest(now.revision) if now.revision is not None else None
        # Going back leaves the schema as it is.
        head = self._head() if returns_to is None else manifest.database.needs
        found = differences(before, manifest, head=head)
        return Plan("rollback" if returns_to else "deploy", now.revision, returns_to, tuple(found), obstacles)

    def _against_deploy(self, manifest: Manifest, head: str | None) -> Iterator[Obstacle]:
        needs, known = manifest.database, running.chain(self.store)
        chain = max(needs.migrations, known, key=len)
        kept = [item for item in self.history() if self.store.has(item.revision)]
        yield from rules.contract_obstacles(rules.pending_migrations(needs, head), chain, kept)
        is_ahead = head is not None and head not in {item.revision for item in needs.migrations}
        if is_ahead and (obstacle := rules.schema_obstacle(needs, head, chain)):
            yield obstacle
        now = self.store.running().revision
        if now is not None and set(self.store.manifest(now).events.reads) - set(manifest.events.reads):
            yield from self._unreadable(manifest)

    def _against_rollback(self, target: int, manifest: Manifest) -> Iterator[Obstacle]:
        if changed := self.store.changed_files(target):
            reason = f"release {target} is not as it was made: {', '.join(changed[:5])}"
            yield Obstacle("release", reason, "todoctl history, and go back to another one", can_be_forced=False)
        if obstacle := rules.schema_obstacle(manifest.database, self._head(), running.chain(self.store)):
            yield obstacle
        yield from self._unreadable(manifest)

    def _unreadable(self, manifest: Manifest) -> list[Obstacle]:
        now = self._values_now()
        waiting = backlog.versions_waiting(readiness.broker(state.load(self.settings, now)), now)
        return rules.event_obstacles(manifest.events.reads, waiting)

    def _target(self, revision: int | None) -> int:
        history = self.history()
        if revision is None:
            now = self.store.running().revision
            # From an edited checkout the way back is the release that it took the place of.
            found = rules.to_go_back_to(history) if now is not None else rules.deployed(history)
            if found is None:
                raise RefusedError("there is no earlier release to go back to", hint="todoctl history")
            revision = found.revision
        require_ran_well(history, revision)
        if not self.store.has(revision):
            raise RefusedError(f"the code of release {revision} is not kept any more", hint="todoctl history")
        return revision

    def _require_up(self) -> None:
        if not self._is_up():
            raise UnhealthyError(f"the environment {self.settings.name!r} is not up", hint="todoctl up")

    def _is_up(self) -> bool:
        if not state.exists(self.settings):
            return False
        ports = state.load(self.settings, self._values_now()).ports
        with supervisor.connect(Folders(self.settings.state)) as control:
            alive = control.is_alive()
        return alive and identity.accepts(ports["postgres"]) and identity.accepts(ports["kafka"])

    def _values_now(self) -> Values:
        document = self.store.running().values
        return self.read_values() if document is None else Values.model_validate(document)

    def _head(self) -> str | None:
        recorded = state.load(self.settings, self._values_now())
        return postgres.revision(recorded.secrets.database_url(OWNER_ROLE, recorded.ports["postgres"]))

    def _from_checkout(self) -> AbstractContextManager[Candidate]:
        return candidate.from_checkout(self.store, self.read_values(), Path(sys.executable), self.environ)

    def _switch_to(self, code: Path, values: Values) -> Switch:
        old = self._up(self._values_now(), self.store.running().code)
        return Switch(old, self._up(values, code))

    def _up(self, values: Values, code: Path | None) -> Up:
        recorded, _ = state.prepare(self.settings, values, keep_ports=True)
        up = Up(self.settings, Assembly(values, recorded, self.environ, Path(sys.executable), code), self.seconds)
        up.find_programs()
        return up


def _who() -> str:
    me = whoami()
    return f"{me.user}@{me.host}"
