"""Builds the platform's images: lays out what the Dockerfile copies, then builds one image after the other."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import todoctl
from todoctl.adapters import checkout
from todoctl.adapters.image_builders import Builder
from todoctl.core.images import CONTENT, Image
from todoctl.errors import TodoctlError, UsageError
from todoctl.operations import tools

_LOCKS = ("services.lock", "mailsink.lock")
_JUNK = shutil.ignore_patterns("__pycache__", "*.pyc")
# What an image is made of, in a checkout.
_PATHS = ("Dockerfile", *(f"requirements/{lock}" for lock in _LOCKS), "todoctl/__init__.py", "todoctl/core", "services")


Done = TypeVar("Done")


@dataclass(frozen=True)
class Request:
    """Which images: all by their service, those that are meant, their tags, their base ("" for the Dockerfile's own)."""

    images: Mapping[str, Image]
    services: Sequence[str]
    tags: Sequence[str]
    base_image: str = ""
    build: str = "todoctl images build"  # the command that builds them

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
    """An image that is there now; `reference` has the first of its tags."""

    service: str
    reference: str
    tags: tuple[str, ...]
    id: str
    seconds: float


@dataclass(frozen=True)
class News(Generic[Done]):
    """What happens to one image, so many seconds after it was begun: a line, or in `done` what became of it."""

    service: str
    line: str
    seconds: float
    done: Done | None = None


def build(
    request: Request, builder: Builder, *, source: Path, vendor: Path | None, environ: Mapping[str, str]
) -> Iterator[News[Built]]:
    """Build every image asked for; `vendor` is the folder with the page's Socket.IO client, if there is one.

    Raises:
        UsageError: an image is not there.
        TodoctlError: one could not be built; those before it are.
    """
    chosen = request.chosen()
    with context(source, vendor) as folder:
        for image in chosen:
            since, line = time.monotonic(), ""
            names = [image.reference(tag) for tag in request.tags]
            for line in builder.build(folder, names, _arguments(request, image), environ=environ):
                yield News(image.service, line, time.monotonic() - since)
            took = time.monotonic() - since
            built = Built(image.service, names[0], tuple(request.tags), line, round(took, 1))
            yield News(image.service, names[0], took, built)


def source() -> Path:
    """Where the services lie: beside this package, in a checkout as in an installation."""
    return Path(todoctl.__file__).parents[1]


def vendor(cache: Path, environ: Mapping[str, str]) -> Path | None:
    """The page's Socket.IO client, None where it was not fetched."""
    client = tools.find("socket.io-client", cache, environ=environ)
    return client.path if client else None


def public_tags(source: Path) -> tuple[str, ...]:
    """The tags by which an image is known to others: the version, and the commit in a checkout."""
    return tuple(filter(None, (todoctl.__version__, checkout.commit(source, _PATHS))))


def content_tag(source: Path, vendor: Path | None) -> str:
    """The tag of the images that are built of what lies there now: other content, another tag.

    Raises:
        TodoctlError: `source` is neither a checkout nor an installed todoctl.
    """
    total = hashlib.sha256()
    with context(source, vendor) as folder:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            name, content = path.relative_to(folder).as_posix().encode(), path.read_bytes()
            total.update(b"%d %b %d " % (len(name), name, len(content)) + content)
    return f"{CONTENT}{total.hexdigest()[:12]}"


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
