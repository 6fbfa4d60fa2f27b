"""Builds the platform's images: lays out what the Dockerfile copies, then builds one image after the other."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from todoctl.adapters.image_builders import Builder
from todoctl.core.images import Image
from todoctl.errors import TodoctlError, UsageError

_LOCKS = ("services.lock", "mailsink.lock")
_JUNK = shutil.ignore_patterns("__pycache__", "*.pyc")


@dataclass(frozen=True)
class Request:
    """What to build: images by their service, under which tag, on which base ("" for the Dockerfile's own)."""

    images: Mapping[str, Image]
    services: Sequence[str]
    tag: str
    base_image: str = ""

    def chosen(self) -> list[Image]:
        """The images asked for; all where none is named.

        Raises:
            UsageError: one is not there.
        """
        if unknown := set(self.services) - set(self.images):
            raise UsageError(
                f"there is no image of {', '.join(sorted(unknown))}", hint=f"use some of {', '.join(self.images)}"
            )
        return [image for name, image in self.images.items() if not self.services or name in self.services]


@dataclass(frozen=True)
class Built:
    """An image that is there now."""

    service: str
    reference: str
    id: str
    seconds: float


@dataclass(frozen=True)
class News:
    """What happens to one image, so many seconds after it was begun: a line of the builder, or the image in `built`."""

    service: str
    line: str
    seconds: float
    built: Built | None = None


def build(
    request: Request, builder: Builder, *, source: Path, vendor: Path | None, environ: Mapping[str, str]
) -> Iterator[News]:
    """Build every image asked for; `vendor` is the folder with the page's Socket.IO client, if there is one.

    Raises:
        UsageError: an image is not there.
        TodoctlError: one could not be built; those before it are.
    """
    chosen = request.chosen()
    with context(source, vendor) as folder:
        for image in chosen:
            since, line = time.monotonic(), ""
            reference = image.reference(request.tag)
            for line in builder.build(folder, reference, _arguments(request, image), environ=environ):
                yield News(image.service, line, time.monotonic() - since)
            took = time.monotonic() - since
            yield News(image.service, reference, took, Built(image.service, reference, line, round(took, 1)))


@contextmanager
def context(source: Path, vendor: Path | None) -> Iterator[Path]:
    """A folder with what the Dockerfile copies and nothing else, so that nothing else changes an image.

    Raises:
        TodoctlError: `source` is neither a checkout nor an installed todoctl.
    """
    packed = source / "todoctl" / "_image"
    recipe = packed if packed.is_dir() else source
    locks = recipe if packed.is_dir() else source / "requirements"
    if not (recipe / "Dockerfile").is_file():
        raise TodoctlError(
            f"there is no Dockerfile in {recipe}", hint="install todoctl anew, or run it from a checkout"
        )
    with tempfile.TemporaryDirectory(prefix="todoctl-images-") as name:
        folder = Path(name)
        shutil.copy(recipe / "Dockerfile", folder)
        (folder / "requirements").mkdir()
        for lock in _LOCKS:
            shutil.copy(locks / lock, folder / "requirements")
        (folder / "todoctl").mkdir()
        shutil.copy(source / "todoctl" / "__init__.py", folder / "todoctl")
        shutil.copytree(source / "todoctl" / "core", folder / "todoctl" / "core", ignore=_JUNK)
        shutil.copytree(source / "services", folder / "services", ignore=_JUNK)
        (folder / "vendor").mkdir()
        for file in sorted(vendor.glob("*.js")) if vendor else ():
            shutil.copy(file, folder / "vendor")
        yield folder


def _arguments(request: Request, image: Image) -> dict[str, str]:
    base = {"BASE_IMAGE": request.base_image} if request.base_image else {}
    port = {"PORT": str(image.port)} if image.port else {}
    # The images of one lock have their libraries in one layer.
    lock = image.service if f"{image.service}.lock" in _LOCKS else "services"
    return {"SERVICE": image.service, "LOCK": lock, **port, **base}
