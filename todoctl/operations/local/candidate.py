"""A release in the making: a copy of the checkout's code, or of an earlier release's, and what it says of itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from todoctl.adapters import release_store
from todoctl.adapters.release_store import Store
from todoctl.core.releases import Manifest
from todoctl.core.values import Values
from todoctl.operations.judging import judged


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
        yield Candidate(draft, judged(manifest))


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
