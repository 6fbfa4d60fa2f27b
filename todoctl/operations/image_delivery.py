"""Brings built images to where pods get them from: a registry, or the nodes of a Minikube."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from todoctl.adapters.image_builders import Builder
from todoctl.core.images import Image, host_of, is_on_this_machine
from todoctl.errors import TodoctlError, UsageError
from todoctl.operations.images import News, Request


@dataclass(frozen=True)
class Pushed:
    """An image that a registry has now; `reference` names it by its digest."""

    service: str
    reference: str
    digest: str
    tags: tuple[str, ...]
    seconds: float


def push(request: Request, builder: Builder, *, insecure: bool, environ: Mapping[str, str]) -> Iterator[News[Pushed]]:
    """Push every image that is asked for, with all its tags; nothing is pushed before it is known that all are there.

    Plain HTTP is spoken with a registry on this machine, and elsewhere only where `insecure` says so.

    Raises:
        UsageError: there is no such service, or an image's name has no registry.
        TodoctlError: an image was not built, or the registry did not take one; those before it are there.
    """
    require_registry(request)
    chosen = request.chosen()
    require_built(request, chosen, builder, environ)
    for image in chosen:
        since, digests = time.monotonic(), list[str]()
        trusted = insecure or is_on_this_machine(host_of(image.name))
        for tag in request.tags:
            line = ""
            for line in builder.push(image.reference(tag), insecure=trusted, environ=environ):
                yield News(image.service, line, time.monotonic() - since)
            digests.append(line)
        digest, took = digests[0], time.monotonic() - since
        reference = f"{image.name}@{digest}"
        pushed = Pushed(image.service, reference, digest, tuple(request.tags), round(took, 1))
        yield News(image.service, reference, took, pushed)


def require_built(request: Request, chosen: Sequence[Image], builder: Builder, environ: Mapping[str, str]) -> None:
    """Return when each image is on this machine and is one and the same under all its tags.

    Raises:
        TodoctlError: one is missing or was built anew under some of them.
    """
    missing, torn = list[str](), list[str]()
    for image in chosen:
        ids = {tag: builder.identity(image.reference(tag), environ=environ) for tag in request.tags}
        missing += [image.reference(tag) for tag, found in ids.items() if found is None]
        torn += [image.name] if len(set(ids.values())) > 1 else []
    hint = f"{request.build} {' '.join(request.services)}".strip()
    if missing:
        raise TodoctlError(
            f"not built with {builder.name}: {', '.join(missing[:3])}{' …' if len(missing) > 3 else ''}",
            detail=tuple(missing),
            hint=f"{hint}, with the same --registry, --tag and --builder",
        )
    if torn:
        raise TodoctlError(f"the tags {', '.join(request.tags)} are different images of {', '.join(torn)}", hint=hint)


def require_registry(request: Request) -> None:
    """Return when the name of every image that is asked for says which registry it is for.

    Raises:
        UsageError: one does not, or there is no such service.
    """
    if nameless := [image.name for image in request.chosen() if not host_of(image.name)]:
        raise UsageError(
            f"the name {nameless[0]} has no registry to push to",
            hint="--registry HOST/PATH, or kubernetes.images.registry in the environment's values",
        )
