"""A release in the making for a cluster: from the chart and values at hand, or an earlier revision that comes back."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from todoctl.adapters import chart, release_store
from todoctl.adapters.helm import Object, Upgrade
from todoctl.core.colours import Colour, active_colour, knows_colours, of_colour, other
from todoctl.core.images import names_content
from todoctl.core.manifests import images_of, is_hook
from todoctl.core.releases import Manifest, Strategy, deployed
from todoctl.core.values import Values
from todoctl.errors import RefusedError, UsageError
from todoctl.operations.judging import judged
from todoctl.operations.kubernetes import asking
from todoctl.operations.kubernetes.pods import cluster_values
from todoctl.operations.kubernetes.revisions import RELEASE, Beside, Candidate, Revisions

MIGRATIONS = "migrations"


def at_hand(
    revisions: Revisions, folder: Path, values: Values, files: tuple[Path, ...], before: Manifest | None
) -> Candidate:
    """What the chart in `folder` makes of the values; `before` is what runs. The image is asked what it needs.

    Raises:
        UsageError: the values do not fit the chart, or the chart waits for another schema than the code's.
        TodoctlError: the image can't be had, or does not say what it needs.
    """
    there = _running_objects(revisions)
    now = active_colour(there)
    upgrade, objects = _rendered(revisions, folder, files, _colours(now, of_colour(there, other(now))), bool(there))
    images = images_of(objects)
    own = images.get(MIGRATIONS, "")
    if before is not None and names_content(own) and before.files.get(MIGRATIONS) == own:
        told = before
    else:
        told = asking.ask(revisions.kube, objects, revisions.clock, seconds=revisions.seconds)
    return Candidate(values, objects, _manifest(told, values, images), upgrade)


def by_strategy(
    revisions: Revisions, folder: Path, files: tuple[Path, ...], candidate: Candidate, strategy: Strategy
) -> Candidate:
    """How a candidate from `at_hand`, which differs from what runs, comes to run.

    Rolling it replaces the pods of the colour that runs, and an idle colour goes. Blue-green the other colour is made ready
    beside it and switched to, and the one that runs now becomes the idle one. Where nothing runs there is nothing to be beside.

    Raises:
        RefusedError: what runs comes from a chart without colours.
    """
    there = _running_objects(revisions)
    now = active_colour(there)
    if strategy == "rolling" or not there:
        upgrade, objects = _rendered(revisions, folder, files, _colours(now, []), bool(there))
        return replace(candidate, upgrade=upgrade, objects=objects)
    if not knows_colours(there):
        raise RefusedError(
            "the release that runs comes from a chart without colours: it can't stay idle beside another one",
            hint="todoctl deploy --strategy rolling, once",
        )
    new, kept = other(now), of_colour(there, now)
    beside = Beside(*_rendered(revisions, folder, files, _colours(now, kept, renders=new), is_upgrade=True))
    upgrade, objects = _rendered(revisions, folder, files, _colours(new, kept), is_upgrade=True)
    return replace(candidate, upgrade=upgrade, objects=objects, beside=beside)


def foretold(
    revisions: Revisions, folder: Path, values: Values, files: tuple[Path, ...], environ: Mapping[str, str]
) -> Candidate:
    """The same where nothing can be asked, for there is no namespace yet: what todoctl's own code needs."""
    upgrade, objects = _rendered(revisions, folder, files, {}, is_upgrade=False)
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


def _running_objects(revisions: Revisions) -> list[Object]:
    running = deployed(revisions.history())
    return revisions.objects(running.revision) if running else []


def _colours(active: Colour, kept: Sequence[Mapping[str, Any]], *, renders: str = "") -> dict[str, Any]:
    return {"active": active, "renders": renders, "kept": [dict(item) for item in kept]}


def _rendered(
    revisions: Revisions, folder: Path, files: tuple[Path, ...], colours: dict[str, Any], is_upgrade: bool
) -> tuple[Upgrade, list[Object]]:
    values = chart.read_overlays(files)
    if colours:
        values = {**values, "kubernetes": {**(values.get("kubernetes") or {}), "colours": colours}}
    upgrade = Upgrade(
        name=RELEASE,
        namespace=revisions.namespace,
        chart=folder,
        values=values,
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
