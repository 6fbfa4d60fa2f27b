"""A release in the making: a copy of the checkout's code, or of an earlier release's, and what it says of itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from todoctl.adapters import release_store, sql_linter
from todoctl.adapters.release_store import Store
from todoctl.core.releases import Manifest
from todoctl.core.values import Values


@dataclass(frozen=True)
class Candidate:
    """A draft that can become a release, and its manifest."""

    draft: Path
    manifest: Manifest


@contextmanager
def from_checkout(store: Store, values: Values, python: Path, environ: Mapping[str, str]) -> Iterator[Candidate]:
    """The code and values at hand; the draft is removed unless it became a release.

    Raises:
        TodoctlError: the code can't be loaded, or its migrations can't be read.
    """
    with _draft(store) as draft:
        code = draft / "code"
        release_store.copy_checkout(code)
        told = release_store.describe(python, code, environ)
        manifest = Manifest.model_validate(
            {**told, "files": release_store.digests(code), "values": values.model_dump(mode="json", by_alias=True)}
        )
        yield Candidate(draft, _judged(manifest))


@contextmanager
def from_release(store: Store, revision: int) -> Iterator[Candidate]:
    """The code and values of an earlier release."""
    with _draft(store) as draft:
        release_store.copy_release(store.code(revision), draft / "code")
        yield Candidate(draft, store.manifest(revision))


@contextmanager
def _draft(store: Store) -> Iterator[Path]:
    draft = store.draft()
    try:
        yield draft
    finally:
        release_store.remove(draft)


def _judged(manifest: Manifest) -> Manifest:
    """With the risks of each migration; one that takes something away is a contract whether it says so or not."""
    migrations = manifest.database.migrations
    risks = sql_linter.lock_risks({item.revision: item.sql for item in migrations if item.sql})
    judged = []
    for item in migrations:
        found = risks.get(item.revision, ())
        breaks = any(risk.rule in sql_linter.BREAKING for risk in found)
        judged.append(item.model_copy(update={"risks": found, "phase": "contract" if breaks else item.phase}))
    database = manifest.database.model_copy(update={"migrations": tuple(judged)})
    return manifest.model_copy(update={"database": database})
