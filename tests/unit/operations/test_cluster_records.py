"""Helm's revisions and our records as one history."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from todoctl.adapters import helm
from todoctl.core.releases import Release, deployed, pending
from todoctl.operations.kubernetes.records import history

MADE = datetime(2026, 11, 26, 11, 0, tzinfo=UTC)


def kept(revision: int, status: str, updated: str = "2026-11-26T11:30:51.459957123Z") -> helm.Release:
    """A revision as Helm has it."""
    return helm.Release("todo", "todo-app", revision, status, "todo-2.0.0", "0.1.0", updated, "Upgrade complete")


def record(revision: int, state: str, **fields: Any) -> Release:
    """A record of ours."""
    needs = {"schema_revision": "0004", "schema_oldest": "0003", "events_written": "1.0", "events_read": ("1",)}
    given = {"app_version": "0.1.0", "code": "sha256:1", "created_at": MADE, "by": "ann@desk", **needs, **fields}
    return Release.model_validate({"revision": revision, "state": state, **given})


def states(revisions: list[helm.Release], records: list[Release]) -> list[str]:
    """What became of each, the oldest first."""
    return [item.state for item in history(revisions, {item.revision: item for item in records})]


@pytest.mark.parametrize(
    ("status", "ours", "state"),
    [
        ("deployed", "deployed", "deployed"),
        ("superseded", "deployed", "superseded"),
        # Helm has applied it; nobody has seen yet that it works.
        ("deployed", "pending-upgrade", "pending-upgrade"),
        ("failed", "pending-upgrade", "pending-upgrade"),
        ("pending-upgrade", "pending-upgrade", "pending-upgrade"),
        # What we gave up stays so, whatever Helm calls it.
        ("superseded", "failed", "failed"),
        ("pending-upgrade", "failed", "failed"),
    ],
)
def test_the_newest_revision(status: str, ours: str, state: str) -> None:
    """Helm knows what is applied, we know whether it worked."""
    assert states([kept(1, status)], [record(1, ours)]) == [state]


def test_only_the_newest_is_in_anybodys_way() -> None:
    """Helm never ends a revision that it left pending."""
    assert states([kept(1, "pending-upgrade"), kept(2, "deployed")], []) == ["failed", "deployed"]
    assert states([kept(1, "superseded"), kept(2, "deployed")], [record(1, "pending-upgrade")]) == [
        "failed",
        "deployed",
    ]


def test_a_release_that_helm_alone_made() -> None:
    """It is there with what Helm knows, its time in either of the ways in which Helm prints one."""
    for text in ("2026-11-26T11:30:51.459957123Z", "2026-11-26 11:30:51.30456327 +0000 UTC"):
        (found,) = history([kept(3, "deployed", text)], {})
        assert (found.by, found.created_at) == ("helm", datetime(2026, 11, 26, 11, 30, 51, tzinfo=UTC))
        assert deployed([found]) == found


def test_what_helm_keeps_no_more() -> None:
    """Its record stays, as something that there is no way back to; an attempt that Helm never began is pending."""
    assert states([kept(2, "deployed")], [record(1, "deployed")]) == ["uninstalled", "deployed"]
    found = history([kept(1, "deployed")], {2: record(2, "pending-upgrade")})
    assert pending(found) == record(2, "pending-upgrade")
    assert deployed(found) == found[0]
