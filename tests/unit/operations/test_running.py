"""What runs: the checkout, a release that is whole, or neither; who works on it; and how it is told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.unit.adapters.test_release_store import made
from tests.unit.core.test_release_diff import manifest
from tests.unit.core.test_releases import needs, release
from tests.unit.sites import chart_values
from todoctl.adapters.release_store import Store
from todoctl.errors import RefusedError, TodoctlError
from todoctl.operations.local import running, state
from todoctl.operations.status import RunningRelease
from todoctl.settings import Settings


@pytest.fixture
def store(settings: Settings) -> Store:
    """The environment's releases: the first one runs."""
    settings.state.mkdir(parents=True)
    found = Store(settings.state)
    made(found, 1)
    found.record(release(1, "deployed"))
    return found


def test_the_checkout_runs_where_nobody_deployed(settings: Settings) -> None:
    """No release: no code of its own, no words, nothing pending."""
    assert running.verified_code(settings) is None
    assert running.words(settings) == ""
    assert running.stuck(settings) is None
    assert running.observed(settings) == RunningRelease(None, None, None, None, None, None)


def test_a_whole_release_runs(settings: Settings, store: Store) -> None:
    """Its code is what services get on their path."""
    assert running.verified_code(settings) == store.code(1)
    assert running.words(settings) == "release 1"
    assert running.observed(settings) == RunningRelease(1, "0.1.0", "0003", None, None, None)


def test_a_changed_release_does_not_run(settings: Settings, store: Store) -> None:
    """Somebody edited it: refused with the file and the ways on; the checkout may still run in its place."""
    path = store.code(1) / "services" / "x.py"
    path.chmod(0o644)
    path.write_text("print(2)\n")
    with pytest.raises(TodoctlError, match="release 1 is not as it was made") as raised:
        running.verified_code(settings)
    assert raised.value.detail == ("services/x.py",)
    assert "todoctl up --checkout" in raised.value.hint
    running.run_checkout(settings)
    assert running.verified_code(settings) is None


def test_a_pending_release_is_told_with_who_works_on_it(settings: Settings, store: Store) -> None:
    """While its deploy lives that one is named; killed, nobody is."""
    store.record(release(2, "pending-upgrade"))
    assert running.observed(settings).worked_on_by is None
    assert "release 2 is pending-upgrade" in (running.stuck(settings) or "")
    with state.lock(settings, "deploy", seconds=0):
        assert running.observed(settings).worked_on_by == f"todoctl deploy (pid {os.getpid()})"
    assert running.observed(settings) == RunningRelease(1, "0.1.0", "0003", 2, "pending-upgrade", None)


def test_a_second_deploy_is_refused_at_once(settings: Settings) -> None:
    """It does not wait: what it would do was planned against another state. The first one is named."""
    refused = pytest.raises(RefusedError, match=rf"todoctl deploy \(pid {os.getpid()}\) is working")
    with state.lock(settings, "deploy", seconds=0), refused as raised, state.lock(settings, "rollback", seconds=0):
        pass
    assert raised.value.exit_code == 8


def test_a_release_lives_on_a_newer_schema_or_says_why_not(settings: Settings, store: Store) -> None:
    """After a rollback the database is ahead: told where that is well, refused where something was taken away."""
    draft = store.draft()
    (draft / "code").mkdir()
    store.keep(draft, 2, manifest(database=needs(5, phase="contract", lives_with="0005")))
    store.record(release(2, "superseded", schema=5))
    assert running.ahead(settings, "0003") is None
    assert running.ahead(settings, "0004") == "at 0004, release 1 needs 0003 and lives with it"
    with pytest.raises(RefusedError, match="release 1 can't run: the database is at 0005"):
        running.ahead(settings, "0005")
    running.run_checkout(settings)
    assert running.ahead(settings, "0005") is None


def test_purging_removes_releases_though_they_are_read_only(settings: Settings, store: Store) -> None:
    """`down --purge` leaves nothing."""
    state.prepare(settings, chart_values(), keep_ports=False)
    assert state.forget(settings)
    assert not Path(settings.state).exists()
