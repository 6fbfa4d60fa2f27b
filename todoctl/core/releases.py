"""Releases: what one needs and reads, what became of it, and whether the platform can go back to it.

The words for a release's state and the rule that going back makes a new revision are Helm's, so that one history
serves every environment.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict

from todoctl.core.colours import Colour

Strategy = Literal["rolling", "blue-green"]
State = Literal[
    "deployed", "superseded", "failed", "pending-install", "pending-upgrade", "pending-rollback", "uninstalled"
]
Risk = Literal["none", "low", "medium", "high"]
Phase = Literal["expand", "contract"]


class _Model(BaseModel):
    # A newer todoctl may have written more.
    model_config = ConfigDict(extra="ignore", frozen=True)


class LockRisk(_Model):
    """What a migration's statement does to those who work on the table meanwhile, or to an older release."""

    rule: str
    risk: Risk
    words: str


class Migration(_Model):
    """A schema revision as its release knows it.

    `lives_with` is the oldest revision that a release may need and still work after this one; for one that takes
    something away and does not say, it is this one. `sql` is None where it can't be known without a database.
    """

    revision: str
    down_revision: str | None
    title: str
    phase: Phase
    lives_with: str | None = None
    sql: str | None = None
    risks: tuple[LockRisk, ...] = ()


class DatabaseNeeds(_Model):
    """The schema revision that a release needs, the oldest it can live with, and all that lead there, oldest first."""

    needs: str
    oldest: str
    migrations: tuple[Migration, ...]


class EventNeeds(_Model):
    """The version of the events that a release writes, the major versions it reads, and the schemas of what it writes."""

    writes: str
    reads: tuple[str, ...]
    schemas: dict[str, dict[str, Any]]


class Manifest(_Model):
    """What a release is: told by its own code, beside the digests of its files and the values that it runs with."""

    app_version: str
    database: DatabaseNeeds
    events: EventNeeds
    files: dict[str, str] = {}
    values: dict[str, Any] = {}


class Release(_Model):
    """One revision of the history: what it is, who made it when, and what became of it.

    `replaces` is the revision that ran before, None where the checkout ran; `returns_to` the one that a rollback
    brought back.
    """

    revision: int
    state: State
    app_version: str
    code: str
    schema_revision: str
    schema_oldest: str
    events_written: str
    events_read: tuple[str, ...]
    created_at: AwareDatetime
    finished_at: AwareDatetime | None = None
    by: str
    replaces: int | None = None
    returns_to: int | None = None
    result: str = ""
    # In a cluster: the colour that ran with it, and the revision for which this one only made the other colour ready.
    strategy: Strategy = "rolling"
    colour: Colour = "blue"
    prepares: int | None = None

    @property
    def is_pending(self) -> bool:
        """Whether its deploy has not ended."""
        return self.state.startswith("pending-")


@dataclass(frozen=True)
class Obstacle:
    """Why a release can't live where it would have to, and what to do; what is only feared can be overridden."""

    about: Literal["schema", "events", "dead letters", "release"]
    reason: str
    advice: str
    can_be_forced: bool


@dataclass(frozen=True)
class VersionsFound:
    """Major versions of the events that a release would have to read: version → how many, and whether all was seen."""

    place: str
    versions: dict[str, int]
    is_complete: bool
    detail: str = ""


def deployed(history: Iterable[Release]) -> Release | None:
    """The release that runs, or should: of several that say so the newest, since a kill may come between two writes."""
    return max((item for item in history if item.state == "deployed"), key=_revision, default=None)


def pending(history: Iterable[Release]) -> Release | None:
    """The release whose deploy has not ended."""
    return max((item for item in history if item.is_pending), key=_revision, default=None)


def to_go_back_to(history: Iterable[Release]) -> Release | None:
    """The release before the one that runs: the newest one that once ran well."""
    ran = (item for item in history if item.state == "superseded" and item.prepares is None)
    return max(ran, key=_revision, default=None)


def next_revision(history: Iterable[Release]) -> int:
    """The number of the release to be made."""
    return max((item.revision for item in history), default=0) + 1


def pending_migrations(needs: DatabaseNeeds, head: str | None) -> tuple[Migration, ...]:
    """The migrations that the release brings to a database at `head`; none where it is ahead of the release."""
    known = [item.revision for item in needs.migrations]
    if head is None:
        return needs.migrations
    return needs.migrations[known.index(head) + 1 :] if head in known else ()


def lives_with(migration: Migration) -> str | None:
    """The oldest revision that a release may need and still work after the migration; None where all do."""
    if migration.phase != "contract":
        return None
    return migration.lives_with or migration.revision


def left_behind(migrations: Sequence[Migration], chain: Sequence[Migration], needs: str) -> Migration | None:
    """The first of the migrations that a release which needs `needs` can't live with."""
    order = {item.revision: place for place, item in enumerate(chain)}
    for migration in migrations:
        oldest = lives_with(migration)
        if oldest is not None and order.get(needs, -1) < order.get(oldest, len(order)):
            return migration
    return None


def schema_obstacle(target: DatabaseNeeds, head: str | None, chain: Sequence[Migration]) -> Obstacle | None:
    """Whether a release can work on a database at `head`; `chain` are all migrations that any release knows, in order."""
    if head is None:
        return Obstacle("schema", "the database has no schema", "todoctl db migrate", can_be_forced=False)
    own = [item.revision for item in target.migrations]
    if head in own:
        return _too_old(target, own, head)
    known = [item.revision for item in chain]
    if head not in known or target.needs not in known:
        return Obstacle(
            "schema",
            f"the database is at {head}, and no release here knows what lies between it and {target.needs}",
            "todoctl db status; look at the migration, then --force if it only adds",
            can_be_forced=True,
        )
    later = chain[known.index(target.needs) + 1 : known.index(head) + 1]
    culprit = left_behind(later, chain, target.needs)
    if culprit is None:
        return None
    return Obstacle(
        "schema",
        f"the database is at {head}; {culprit.revision} ({culprit.title}) took away what a release that needs "
        f"{target.needs} works with",
        f"todoctl history, and go back to a release that needs {lives_with(culprit)} or later; or deploy the mended code",
        can_be_forced=False,
    )


def _too_old(target: DatabaseNeeds, own: Sequence[str], head: str) -> Obstacle | None:
    if target.oldest not in own or own.index(head) >= own.index(target.oldest):
        return None
    reason = f"the database is at {head}, the release can't work on anything older than {target.oldest}"
    return Obstacle("schema", reason, "todoctl db migrate, then the same command", can_be_forced=False)


def event_obstacles(reads: Sequence[str], found: Iterable[VersionsFound]) -> list[Obstacle]:
    """What waits to be read and the release can't, and where it could not be told."""
    obstacles = []
    for item in found:
        unreadable = {version: count for version, count in sorted(item.versions.items()) if version not in reads}
        about: Literal["events", "dead letters"] = "dead letters" if item.place == "dead letters" else "events"
        if unreadable:
            counted = ", ".join(f"{count} of version {version}" for version, count in unreadable.items())
            reason = f"{item.place}: {counted}; the release reads {', '.join(reads)}"
            obstacles.append(Obstacle(about, reason, _ADVICE[about], can_be_forced=True))
        elif not item.is_complete:
            reason = f"{item.place}: not all of it could be looked at: {item.detail}"
            obstacles.append(Obstacle(about, reason, _ADVICE[about], can_be_forced=True))
    return obstacles


_ADVICE = {
    "events": "let the release that runs consume them (todoctl status shows the lag), then the same command; "
    "with --force they become dead letters",
    "dead letters": "replay or park them while the release that runs can read them; with --force they stay, and a replay "
    "would bring them back",
}


def contract_obstacles(
    brought: Sequence[Migration], chain: Sequence[Migration], history: Iterable[Release]
) -> list[Obstacle]:
    """Releases that a deploy's migrations would leave no way back to."""
    obstacles = []
    kept = [item for item in history if item.state in {"deployed", "superseded"}]
    for migration in brought:
        lost = [item for item in kept if left_behind([migration], chain, item.schema_revision)]
        if lost:
            revisions = ", ".join(str(item.revision) for item in sorted(lost, key=_revision))
            obstacles.append(
                Obstacle(
                    "schema",
                    f"{migration.revision} ({migration.title}) takes away what is needed by release {revisions}: "
                    "there would be no way back to it",
                    "deploy it once no such release is needed, or say --allow-contract",
                    can_be_forced=True,
                )
            )
    return obstacles


def _revision(release: Release) -> int:
    return release.revision
