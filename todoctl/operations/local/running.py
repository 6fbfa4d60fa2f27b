"""What runs on this machine: a release, whole as it was made and able to live on the schema, or the checkout."""

from __future__ import annotations

from pathlib import Path

from todoctl.adapters.release_store import Store
from todoctl.core.releases import Migration, pending, schema_obstacle
from todoctl.errors import RefusedError, TodoctlError
from todoctl.operations.local import state
from todoctl.operations.status import RunningRelease
from todoctl.settings import Settings


def verified_code(settings: Settings) -> Path | None:
    """The code of the release that should run, None where the checkout does.

    Raises:
        TodoctlError: its files are not as they were when it was made.
    """
    store = Store(settings.state)
    running = store.running()
    if running.revision is None:
        return None
    if changed := store.changed_files(running.revision):
        raise TodoctlError(
            f"release {running.revision} is not as it was made: {len(changed)} files of {running.code} differ",
            detail=tuple(changed[:10]),
            hint="todoctl rollback to an earlier release, todoctl deploy a new one, or todoctl up --checkout",
        )
    return running.code


def words(settings: Settings) -> str:
    """`release N`, or nothing where the checkout runs."""
    revision = Store(settings.state).running().revision
    return f"release {revision}" if revision is not None else ""


def run_checkout(settings: Settings) -> None:
    """Have the checkout run from now on, although there is a release."""
    Store(settings.state).run_checkout(instead=True)


def stuck(settings: Settings) -> str | None:
    """What to say of a release that is pending while nobody works on it; only for who holds the environment's lock."""
    found = pending(Store(settings.state).history())
    return (
        f"release {found.revision} is {found.state}: the command of {found.by} that made it was killed"
        if found
        else None
    )


def observed(settings: Settings) -> RunningRelease:
    """What runs, and the release that is being made or was left pending."""
    store = Store(settings.state)
    release, waiting = store.running().release, pending(store.history())
    return RunningRelease(
        revision=release.revision if release else None,
        app_version=release.app_version if release else None,
        schema_revision=release.schema_revision if release else None,
        pending=waiting.revision if waiting else None,
        pending_state=waiting.state if waiting else None,
        worked_on_by=state.holder(settings) if waiting else None,
    )


def chain(store: Store) -> tuple[Migration, ...]:
    """All migrations that any release here knows, oldest first."""
    # Of two that know as many the newer one is right: what failed may have been mended.
    kept = [item.revision for item in reversed(store.history()) if store.has(item.revision)]
    chains = [store.manifest(revision).database.migrations for revision in kept]
    return max(chains, key=len, default=())


def ahead(settings: Settings, head: str | None) -> str | None:
    """What to say where the database is ahead of the release that runs, as after a rollback; None where it is not.

    Raises:
        RefusedError: the release can't live there.
    """
    store = Store(settings.state)
    running = store.running()
    if running.revision is None or head is None:
        return None
    needs = store.manifest(running.revision).database
    if head in {item.revision for item in needs.migrations}:
        return None
    if obstacle := schema_obstacle(needs, head, chain(store)):
        raise RefusedError(f"release {running.revision} can't run: {obstacle.reason}", hint=obstacle.advice)
    return f"at {head}, release {running.revision} needs {needs.needs} and lives with it"
