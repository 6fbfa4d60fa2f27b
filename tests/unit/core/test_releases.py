"""Which release runs, and whether the platform can go back to another: schema, events, contracts."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from todoctl.core.releases import (
    DatabaseNeeds,
    Migration,
    Release,
    VersionsFound,
    contract_obstacles,
    deployed,
    event_obstacles,
    next_revision,
    pending,
    pending_migrations,
    schema_obstacle,
    to_go_back_to,
)


def migration(revision: int, **fields: Any) -> Migration:
    """The revision after the one before it."""
    before = f"{revision - 1:04}" if revision > 1 else None
    return Migration(
        **{"revision": f"{revision:04}", "down_revision": before, "title": f"m{revision}", "phase": "expand"} | fields
    )


def needs(newest: int, *, oldest: int | None = None, **contract: Any) -> DatabaseNeeds:
    """A release with this many migrations; the last one with `contract`."""
    chain = [migration(number) for number in range(1, newest)]
    return DatabaseNeeds(
        needs=f"{newest:04}", oldest=f"{oldest or newest:04}", migrations=(*chain, migration(newest, **contract))
    )


def release(revision: int, state: str = "superseded", schema: int = 3) -> Release:
    """A record."""
    return Release.model_validate(
        {
            "revision": revision,
            "state": state,
            "app_version": "0.1.0",
            "code": "sha256:0",
            "schema_revision": f"{schema:04}",
            "schema_oldest": f"{schema:04}",
            "events_written": "1.0",
            "events_read": ["1"],
            "created_at": datetime(2026, 1, 1, tzinfo=UTC),
            "by": "ann@here",
        }
    )


def test_the_newest_of_two_deployed_runs() -> None:
    """A kill between the two writes at a deploy's end leaves two that say they run: the newer does."""
    history = [release(1), release(2, "deployed"), release(3, "deployed"), release(4, "failed")]
    assert deployed(history) == history[2]
    assert to_go_back_to(history) == history[0]
    assert pending(history) is None
    assert next_revision(history) == 5


def test_an_empty_history() -> None:
    """Nothing runs, nothing is pending, the first revision is 1."""
    assert (deployed([]), pending([]), to_go_back_to([]), next_revision([])) == (None, None, None, 1)


@pytest.mark.parametrize("state", ["pending-install", "pending-upgrade", "pending-rollback"])
def test_a_pending_release_is_found(state: str) -> None:
    """Each of Helm's words for a release that did not end counts."""
    assert pending([release(1, "deployed"), release(2, state)]) is not None


@pytest.mark.parametrize(
    ("head", "brought"), [(None, ["0001", "0002"]), ("0001", ["0002"]), ("0002", []), ("0009", [])], ids=str
)
def test_migrations_that_a_release_brings(head: str | None, brought: list[str]) -> None:
    """What lies between the database and the release; nothing where the database is ahead."""
    assert [item.revision for item in pending_migrations(needs(2), head)] == brought


def test_code_goes_back_over_an_expanding_migration() -> None:
    """A migration that only adds leaves the release before it a place to live."""
    assert schema_obstacle(needs(3), "0004", needs(4).migrations) is None
    assert schema_obstacle(needs(3), "0003", needs(4).migrations) is None


def test_a_contract_bars_the_way() -> None:
    """A release can't live where something it needs was taken away; the words name the culprit and who can."""
    chain = needs(5, phase="contract", lives_with="0004").migrations
    obstacle = schema_obstacle(needs(3), "0005", chain)
    assert obstacle is not None
    assert "0005 (m5) took away what a release that needs 0003" in obstacle.reason
    assert "needs 0004 or later" in obstacle.advice
    assert not obstacle.can_be_forced
    assert schema_obstacle(needs(4), "0005", chain) is None


def test_a_contract_that_does_not_say_bars_it_for_all() -> None:
    """Without `lives_with` no earlier release lives on."""
    chain = needs(5, phase="contract").migrations
    assert schema_obstacle(needs(4), "0005", chain) is not None
    assert schema_obstacle(needs(5), "0005", chain) is None


def test_a_schema_that_nobody_knows_is_feared() -> None:
    """Where no release knows the database's revision it can't be told; that may be overridden."""
    obstacle = schema_obstacle(needs(3), "00ff", needs(4).migrations)
    assert obstacle is not None
    assert obstacle.can_be_forced


@pytest.mark.parametrize(("head", "refused"), [("0001", True), ("0002", False), ("0003", False), (None, True)], ids=str)
def test_a_database_older_than_the_release_bears(head: str | None, refused: bool) -> None:
    """Between the oldest it can live with and what it needs a release may run; below that it may not."""
    assert (schema_obstacle(needs(3, oldest=2), head, needs(3).migrations) is not None) is refused


@pytest.mark.parametrize(
    ("found", "about", "words"),
    [
        (VersionsFound("task-events", {"1": 5}, is_complete=True), None, ""),
        (VersionsFound("task-events", {}, is_complete=True), None, ""),
        (
            VersionsFound("task-events", {"1": 5, "2": 3}, is_complete=True),
            "events",
            "3 of version 2; the release reads 1",
        ),
        (VersionsFound("dead letters", {"2": 1}, is_complete=True), "dead letters", "1 of version 2"),
        (VersionsFound("reminders", {"1": 9}, is_complete=False, detail="too many"), "events", "too many"),
        (VersionsFound("reminders", {"3": 1}, is_complete=False, detail="too many"), "events", "1 of version 3"),
    ],
    ids=str,
)
def test_events_that_could_not_be_read(found: VersionsFound, about: str | None, words: str) -> None:
    """What waits in a version that the release does not read is in the way, and so is what could not be looked at."""
    obstacles = event_obstacles(["1"], [found])
    assert [item.about for item in obstacles] == ([about] if about else [])
    assert all(words in item.reason and item.can_be_forced for item in obstacles)


def test_a_deploy_that_would_cut_off_the_way_back() -> None:
    """A contract is refused while a release that needs what it takes away could still be gone back to."""
    chain = needs(5, phase="contract", lives_with="0004").migrations
    history = [release(1, schema=3), release(2, "failed", schema=3), release(3, "deployed", schema=4)]
    obstacles = contract_obstacles(chain[-1:], chain, history)
    assert len(obstacles) == 1
    assert "what is needed by release 1:" in obstacles[0].reason
    assert "--allow-contract" in obstacles[0].advice
    assert contract_obstacles(chain[-1:], chain, history[2:]) == []
    assert contract_obstacles(chain[:-1], chain, history) == []
