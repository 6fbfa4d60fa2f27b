"""Releases of an environment, whatever it is made of: what a change would bring, and carrying it out.

Each kind of environment has its own implementation; commands know only what stands here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

from todoctl.adapters.release_store import code_digest
from todoctl.core.release_diff import Difference, highest_risk
from todoctl.core.releases import Manifest, Obstacle, Release, State, Strategy, deployed, pending
from todoctl.core.values import Values
from todoctl.errors import RefusedError, UsageError
from todoctl.operations.steps import StepEvent


class Proof(Protocol):
    """Proves that the platform works as a whole with these values; gives what it saw, raises where it does not.

    With `preview` it is played against the idle colour.
    """

    def __call__(self, values: Values, *, preview: bool = False) -> str:
        """Play it."""


@dataclass(frozen=True)
class Plan:
    """What a deploy or rollback would do: from which revision (None: no release runs), what differs, what is in the way.

    `returns_to` is the revision that would come back, None for new code.
    """

    kind: Literal["deploy", "rollback"]
    runs: int | None
    returns_to: int | None
    differences: tuple[Difference, ...]
    obstacles: tuple[Obstacle, ...]

    def document(self) -> dict[str, Any]:
        """The plan as JSON has it."""
        return {
            "kind": self.kind,
            "from": self.runs,
            "to": self.returns_to,
            "risk": highest_risk(self.differences),
            "differences": [asdict(item) for item in self.differences],
            "obstacles": [asdict(item) for item in self.obstacles],
        }

    def require_free(self, *, force: bool) -> None:
        """Return when nothing is in the way, or only what `force` overrides.

        Raises:
            RefusedError: something is; it says what, and what to do.
        """
        stopping = [item for item in self.obstacles if not (force and item.can_be_forced)]
        if stopping:
            raise RefusedError(
                f"{self.kind} refused: {stopping[0].reason}",
                detail=tuple(f"{item.about}: {item.reason} ({item.advice})" for item in stopping[1:]),
                hint=stopping[0].advice,
            )


def begun(plan: Plan, manifest: Manifest, history: Sequence[Release], *, revision: int, by: str) -> Release:
    """The record of a release whose making begins: pending until it is known how it ends."""
    first: State = "pending-upgrade" if plan.runs or deployed(history) else "pending-install"
    return Release(
        revision=revision,
        state="pending-rollback" if plan.kind == "rollback" else first,
        app_version=manifest.app_version,
        code=code_digest(manifest.files),
        schema_revision=manifest.database.needs,
        schema_oldest=manifest.database.oldest,
        events_written=manifest.events.writes,
        events_read=manifest.events.reads,
        created_at=datetime.now(UTC),
        by=by,
        replaces=plan.runs,
        returns_to=plan.returns_to,
    )


def ended(release: Release, state: State, result: str) -> Release:
    """The release with what became of it."""
    changed: dict[str, Any] = {"state": state, "finished_at": datetime.now(UTC), "result": result}
    return release.model_copy(update=changed)


def failed(release: Release, result: str) -> Release:
    """The release, failed; what it would have made ready is no release any more."""
    return ended(release, "failed", result).model_copy(update={"prepares": None})


def require_ran_well(history: Iterable[Release], revision: int) -> None:
    """Return when the release is there and may come back.

    Raises:
        UsageError: there is no such release.
        RefusedError: it never ran well.
    """
    found = next((item for item in history if item.revision == revision), None)
    if found is None:
        raise UsageError(f"there is no release {revision}", hint="todoctl history")
    if found.prepares is not None:
        raise RefusedError(
            f"release {revision} only prepared release {found.prepares}: nothing of it ran", hint="todoctl history"
        )
    if found.state not in {"deployed", "superseded"}:
        raise RefusedError(f"release {revision} is {found.state}: it never ran well", hint="todoctl history")


def require_none_pending(history: Sequence[Release], what: str) -> None:
    """Return when no release is in the making.

    Raises:
        RefusedError: the command that made one was killed.
    """
    stuck = pending(history)
    if stuck is not None:
        raise RefusedError(
            f"{what} refused: release {stuck.revision} is {stuck.state} since {stuck.created_at:%Y-%m-%d %H:%M:%S} UTC; "
            f"the command of {stuck.by} that made it was killed",
            hint="todoctl unlock",
        )


class Change(Protocol):
    """A release in the making: its plan, and carrying it out."""

    @property
    def plan(self) -> Plan:
        """What it would do."""

    def carry_out(self, prove: Proof | None) -> Iterator[StepEvent]:
        """Do it, end with `prove`; yields what happens.

        Raises:
            TodoctlError: it failed and what ran before runs again; the evidence is in the folder that the message names.
            UnhealthyError: it failed, and so did going back.
        """

    def outcome(self) -> Release:
        """The release that runs: the one that was made, or the one before where nothing differed."""


class Releases(Protocol):
    """The releases of one environment."""

    def history(self) -> list[Release]:
        """Every release, oldest first."""

    def alone(self, what: str) -> AbstractContextManager[None]:
        """Work as the only one; a RefusedError names who else does."""

    def diff(self, revision: int | None) -> Plan:
        """What a deploy, or a rollback to `revision`, would change; nothing is judged."""

    def deploy(self, strategy: Strategy = "rolling") -> AbstractContextManager[Change]:
        """A new release of the code and values at hand."""

    def rollback(self, revision: int | None) -> AbstractContextManager[Change]:
        """A new release that brings back an earlier one, by default the one before."""

    def unlock(self) -> Iterator[StepEvent]:
        """End a release whose deploy was killed: what ran before runs again; yields what happens."""
