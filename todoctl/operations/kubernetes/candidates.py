"""A release in the making for a cluster: from the chart and values at hand, or an earlier revision that comes back."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from todoctl.adapters import chart, release_store
from todoctl.adapters.helm import Object, Upgrade
from todoctl.core.images import names_content
from todoctl.core.manifests import images_of, is_hook
from todoctl.core.releases import Manifest
from todoctl.core.values import Values
from todoctl.errors import RefusedError, UsageError
from todoctl.operations.judging import judged
from todoctl.operations.kubernetes import asking
from todoctl.operations.kubernetes.change import RELEASE, Candidate, Revisions
from todoctl.operations.kubernetes.pods import cluster_values

MIGRATIONS = "migrations"


def at_hand(
    revisions: Revisions, folder: Path, values: Values, files: tuple[Path, ...], before: Manifest | None
) -> Candidate:
    """What the chart in `folder` makes of the values; `before` is what runs. The image is asked what it needs.

    Raises:
        UsageError: the values do not fit the chart, or the chart waits for another schema than the code's.
        TodoctlError: the image can't be had, or does not say what it needs.
    """
    upgrade, objects = _rendered(revisions, folder, files, is_upgrade=before is not None)
    images = images_of(objects)
    own = images.get(MIGRATIONS, "")
    if before is not None and names_content(own) and before.files.get(MIGRATIONS) == own:
        told = before
    else:
        told = asking.ask(revisions.kube, objects, revisions.clock, seconds=revisions.seconds)
    return Candidate(values, objects, _manifest(told, values, images), upgrade)


def foretold(
    revisions: Revisions, folder: Path, values: Values, files: tuple[Path, ...], environ: Mapping[str, str]
) -> Candidate:
    """The same where nothing can be asked, for there is no namespace yet: what todoctl's own code needs."""
    upgrade, objects = _rendered(revisions, folder, files, is_upgrade=False)
    told = Manifest.model_validate(release_store.describe(Path(sys.executable), None, environ))
    return Candidate(values, objects, _manifest(told, values, images_of(objects)), upgrade)


def earlier(revisions: Revisions, revision: int) -> Candidate:
    """A revision that comes back.

    Raises:
        RefusedError: nobody wrote down what it needs.
    """
    manifest = revisions.records.manifest(revision)
    if manifest is None:
        raise RefusedError(
            f"release {revision} was made by helm alone: what it needs of schema and events is not known",
            hint="todoctl history, and go back to another one; or todoctl deploy with its image",
        )
    values = revisions.values(revision)
    document = values.model_dump(mode="json", by_alias=True)
    return Candidate(values, revisions.objects(revision), manifest.model_copy(update={"values": document}))


def _rendered(
    revisions: Revisions, folder: Path, files: tuple[Path, ...], *, is_upgrade: bool
) -> tuple[Upgrade, list[Object]]:
    upgrade = Upgrade(
        name=RELEASE,
        namespace=revisions.namespace,
        chart=folder,
        values=chart.read_overlays(files),
        description=f"todoctl deploy by {revisions.by}",
        seconds=int(revisions.seconds),
    )
    objects = revisions.helm.rendered(upgrade, is_upgrade=is_upgrade)
    return upgrade, [item for item in objects if not is_hook(item)]


def _manifest(told: Manifest, values: Values, images: Mapping[str, str]) -> Manifest:
    wanted = cluster_values(values).migration.revision
    if wanted != told.database.needs:
        raise UsageError(
            f"the chart brings the database to revision {wanted}, the image of {MIGRATIONS} needs {told.database.needs}",
            hint="kubernetes.migration.revision must be the image's: take the chart of the same commit",
        )
    document = values.model_dump(mode="json", by_alias=True)
    return judged(told.model_copy(update={"files": dict(images), "values": document}))
