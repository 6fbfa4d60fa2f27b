"""What is in the way of a release in a cluster: the schema, events that wait, dead letters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

from todoctl.adapters import postgres
from todoctl.core import releases as rules
from todoctl.core.parts import OWNER_ROLE
from todoctl.core.releases import Manifest, Migration, Obstacle, Release
from todoctl.core.values import Values
from todoctl.errors import TodoctlError
from todoctl.operations.kafka import backlog
from todoctl.operations.kubernetes.platform import ClusterPlatform


@dataclass(frozen=True)
class Head:
    """The schema that the database is at; where it could not be asked, why."""

    revision: str | None
    unknown: str = ""


@dataclass(frozen=True)
class Gate:
    """Asks the database and the broker of a platform with these values."""

    platform: Callable[[Values], ClusterPlatform]
    values: Values

    def head(self) -> Head:
        """The database's schema."""
        with closing(self.platform(self.values)) as platform:
            try:
                return Head(postgres.revision(platform.database_url(OWNER_ROLE)))
            except TodoctlError as error:
                return Head(None, error.message)

    def against_deploy(
        self,
        manifest: Manifest,
        before: Manifest | None,
        head: Head,
        chain: Sequence[Migration],
        history: Sequence[Release],
    ) -> Iterator[Obstacle]:
        """What keeps new code from living here, or would cut off the way back."""
        needs = manifest.database
        longest = max(needs.migrations, tuple(chain), key=len)
        known = [item for item in history if item.schema_revision]
        yield from rules.contract_obstacles(rules.pending_migrations(needs, head.revision), longest, known)
        is_ahead = head.revision is not None and head.revision not in {item.revision for item in needs.migrations}
        if is_ahead and (obstacle := rules.schema_obstacle(needs, head.revision, longest)):
            yield obstacle
        if before is not None and set(before.events.reads) - set(manifest.events.reads):
            yield from self._unreadable(manifest)

    def against_rollback(
        self, manifest: Manifest, head: Head, chain: Sequence[Migration], running: Release | None
    ) -> Iterator[Obstacle]:
        """What keeps earlier code from living here; a database that can't be asked is where the running release brought it."""
        known = head.revision or (running.schema_revision if running and head.unknown else None)
        if head.unknown:
            yield Obstacle(
                "schema",
                f"the database could not be asked for its schema: {head.unknown}",
                "run todoctl where the database can be reached, or --force where nothing was migrated since",
                can_be_forced=True,
            )
        if (known or not head.unknown) and (obstacle := rules.schema_obstacle(manifest.database, known, chain)):
            yield obstacle
        yield from self._unreadable(manifest)

    def _unreadable(self, manifest: Manifest) -> list[Obstacle]:
        with closing(self.platform(self.values)) as platform:
            try:
                waiting = backlog.versions_waiting(platform.broker(), self.values)
            except TodoctlError as error:
                reason = f"the broker could not be asked what waits: {error.message}"
                advice = (
                    "run todoctl where the broker can be reached, or --force: what can't be read becomes dead letters"
                )
                return [Obstacle("events", reason, advice, can_be_forced=True)]
        return rules.event_obstacles(manifest.events.reads, waiting)
