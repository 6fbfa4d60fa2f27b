"""Carries a release out: recorded as pending before anything changes, and gone back from when it fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from todoctl.adapters.release_store import Store
from todoctl.core.releases import Release, next_revision
from todoctl.core.values import Values
from todoctl.errors import TodoctlError, UnhealthyError
from todoctl.operations.local import evidence
from todoctl.operations.local.candidate import Candidate
from todoctl.operations.local.switch import Switch
from todoctl.operations.releases import Plan, Proof, begun, ended
from todoctl.operations.steps import Step, StepEvent, run_steps

_KEPT = 10  # releases whose code stays, so that one can go back to them


@dataclass
class LocalChange:
    """A release in the making; `switch_to` gives the way from what runs to a release's code and values."""

    store: Store
    plan: Plan
    candidate: Candidate
    switch_to: Callable[[Path, Values], Switch]
    by: str
    migrates: bool

    def outcome(self) -> Release:
        """The release that runs: the one that was made, or the one before where nothing differed.

        Raises:
            TodoctlError: none runs.
        """
        release = self.store.running().release
        if release is None:
            raise TodoctlError("no release runs", hint="todoctl history")
        return release

    def carry_out(self, prove: Proof | None) -> Iterator[StepEvent]:
        """Record, switch, prove; yields what happens.

        Raises:
            TodoctlError: it failed and what ran before runs again; the evidence is in the folder that the message names.
            UnhealthyError: it failed, and so did going back.
        """
        release = self._begin()
        values = Values.model_validate(self.candidate.manifest.values)
        switch = self.switch_to(self.store.code(release.revision), values)
        try:
            yield from switch.there(migrates=self.migrates)
            if prove:
                yield from run_steps([Step("smoke", lambda _tell: prove(values))])
        except (TodoctlError, OSError) as error:
            yield from self._go_back(release, switch, error)
        self._finish(release)

    def _begin(self) -> Release:
        manifest, history = self.candidate.manifest, self.store.history()
        revision = next_revision(history)
        self.store.keep(self.candidate.draft, revision, manifest)
        release = begun(self.plan, manifest, history, revision=revision, by=self.by)
        self.store.record(release)
        return release

    def _finish(self, release: Release) -> None:
        """The new one first: of two that say that they run, the newer does."""
        before = [item for item in self.store.history() if item.state == "deployed"]
        result = f"back to {release.returns_to}" if release.returns_to else "deployed"
        self.store.record(ended(release, "deployed", result))
        for item in before:
            self.store.record(item.model_copy(update={"state": "superseded"}))
        self.store.run_checkout(instead=False)
        self.store.forget_before(release.revision - _KEPT)

    def _go_back(self, release: Release, switch: Switch, error: TodoctlError | OSError) -> Iterator[StepEvent]:
        folder = self._evidence(release, switch, error)
        yield StepEvent("evidence", "ready", folder, 0.0)
        detail = (str(error), *getattr(error, "detail", ()), f"evidence: {folder}")
        before = f"release {self.plan.runs}" if self.plan.runs else "the checkout"
        try:
            yield from switch.back()
        except TodoctlError as second:
            raise UnhealthyError(
                f"release {release.revision} failed, and {before} does not come back: {second.message}",
                detail=detail,
                hint="todoctl status; todoctl unlock",
            ) from error
        self.store.record(ended(release, "failed", f"{error}; evidence: {folder}"))
        raise TodoctlError(
            f"release {release.revision} failed; {before} runs again", detail=detail, hint=f"look into {folder}"
        ) from error

    def _evidence(self, release: Release, switch: Switch, error: TodoctlError | OSError) -> str:
        try:
            return str(evidence.collect(switch.new, release, self.plan.document(), error))
        except OSError as full:
            # A full disk must not keep the platform from going back.
            return f"could not be written: {full}"
