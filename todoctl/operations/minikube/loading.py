"""Images into a Minikube's nodes: built where they are new, carried over as archives, and written down for releases."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from todoctl.adapters.image_builders import Builder
from todoctl.adapters.minikube import Minikube
from todoctl.core.images import Image, images, values_of_tag
from todoctl.core.values import Values
from todoctl.errors import TodoctlError
from todoctl.operations import images as building
from todoctl.operations.image_delivery import require_built
from todoctl.operations.images import News, Request
from todoctl.settings import Settings

# Stands in the name of images that belong to no registry: a node finds it as it is, and nobody is asked for it.
_NOWHERE = "localhost"


@dataclass(frozen=True)
class Loaded:
    """An image that the nodes have now."""

    service: str
    reference: str
    seconds: float


def values_file(settings: Settings) -> Path:
    """The values by which releases of this environment take the images that were loaded last."""
    return settings.state / "images.yaml"


def registry_of(values: Values) -> str:
    """What stands before the images' names."""
    return (values.kubernetes.images.registry if values.kubernetes else "") or _NOWHERE


def named(settings: Settings, values: Values, services: Sequence[str], tag: str) -> Request:
    """The images of these services as the nodes know them."""
    build = f"todoctl -e {settings.name} images build"
    return Request(images(values, registry=registry_of(values)), services, (tag,), build=build)


def load(
    request: Request, builder: Builder, minikube: Minikube, *, environ: Mapping[str, str]
) -> Iterator[News[Loaded]]:
    """Load every image that is asked for.

    Raises:
        UsageError: an image is not there.
        TodoctlError: an image was not built, or the nodes do not have it afterwards.
    """
    chosen, (tag,) = request.chosen(), request.tags
    require_built(request, chosen, builder, environ)
    took = dict[str, float]()
    with tempfile.TemporaryDirectory(prefix="todoctl-load-") as folder:
        for image in chosen:
            since, archive = time.monotonic(), Path(folder) / f"todoctl-{image.service}.tar"
            yield News(image.service, "writing an archive", 0.0)
            builder.save(image.reference(tag), archive, environ=environ)
            size = archive.stat().st_size / 1024 / 1024
            yield News(image.service, f"loading {size:.0f} MB", time.monotonic() - since)
            minikube.load(archive)
            archive.unlink()
            took[image.service] = time.monotonic() - since
    # Minikube says nothing of an image that a node did not take.
    there = minikube.images()
    if missing := [image.reference(tag) for image in chosen if image.reference(tag) not in there]:
        raise TodoctlError(
            f"the profile {minikube.profile!r} did not take {', '.join(missing)}",
            hint=f"minikube -p {minikube.profile} image load ARCHIVE --alsologtostderr says why",
        )
    for image in chosen:
        reference, seconds = image.reference(tag), took[image.service]
        yield News(image.service, reference, seconds, Loaded(image.service, reference, round(seconds, 1)))


def write_values(settings: Settings, values: Values, tag: str) -> None:
    """Have the next release take these images."""
    file = values_file(settings)
    document = yaml.safe_dump(values_of_tag(registry_of(values), tag), sort_keys=False)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"# The images that todoctl loaded last.\n{document}", encoding="utf-8")


@dataclass(frozen=True)
class Sources:
    """What images are built of, on which base, and the tag that says so."""

    folder: Path
    vendor: Path | None
    base_image: str
    tag: str


def bring(
    settings: Settings,
    values: Values,
    sources: Sources,
    builder: Builder,
    minikube: Minikube,
    *,
    environ: Mapping[str, str],
) -> Iterator[str]:
    """See that the nodes have the images of what lies there now; yields what is done, and nothing where they have them.

    Raises:
        TodoctlError: an image can't be built or loaded.
    """
    wanted = named(settings, values, (), sources.tag)
    there = minikube.images()
    lacking = [image for image in wanted.chosen() if image.reference(sources.tag) not in there]
    if not lacking:
        return
    new = [image for image in lacking if builder.identity(image.reference(sources.tag), environ=environ) is None]
    if new:
        tags = (sources.tag, *building.public_tags(sources.folder))
        request = replace(wanted, services=_services(new), tags=tags, base_image=sources.base_image)
        for item in building.build(request, builder, source=sources.folder, vendor=sources.vendor, environ=environ):
            yield f"building {item.service}: {item.line}"
    for news in load(replace(wanted, services=_services(lacking)), builder, minikube, environ=environ):
        yield f"{news.service}: {news.line}"


def _services(chosen: Sequence[Image]) -> tuple[str, ...]:
    return tuple(image.service for image in chosen)
