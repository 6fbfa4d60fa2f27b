"""`todoctl images`: the images of the services, built on this machine and brought to where pods get them from."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from todoctl import screen
from todoctl.adapters import image_builders
from todoctl.commands import context
from todoctl.core.images import images, values_of_digests
from todoctl.errors import RefusedError, TodoctlError
from todoctl.operations import image_delivery
from todoctl.operations import images as operation
from todoctl.screen import Output

app = typer.Typer(
    help="Build the images of the services, push or load them.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

ServicesArgument = Annotated[
    list[str] | None, typer.Argument(metavar="SERVICE", help="Services; without a name all of them.")
]
RegistryOption = Annotated[
    str | None, typer.Option("--registry", metavar="HOST/PATH", help="In the place of the values' registry.")
]
BuilderOption = Annotated[
    str, typer.Option("--builder", metavar="NAME", help="docker, podman or buildah; else the first one that works.")
]
OutputOption = Annotated[Output, typer.Option("-o", "--output", help="How the result is written.")]


@app.callback()
def group() -> None:
    """Build the images of the services, push or load them."""


@app.command()
def build(
    ctx: typer.Context,
    services: ServicesArgument = None,
    tag: Annotated[
        str, typer.Option("--tag", help="One tag in the place of three: the version, the commit, and the content's.")
    ] = "",
    registry: RegistryOption = None,
    builder: BuilderOption = "",
    base_image: Annotated[
        str,
        typer.Option(
            "--base-image", metavar="IMAGE", envvar="TODOCTL_BASE_IMAGE", help="An image with Python 3.11 or later."
        ),
    ] = "",
    output: OutputOption = Output.table,
) -> None:
    """Build an image for each service, the migrations and the mail sink; the same content gives the same image."""
    source, vendor = operation.source(), _vendor(ctx)
    tags = (tag,) if tag else (*operation.public_tags(source), operation.content_tag(source, vendor))
    request, found = _asked(ctx, services, tags, registry, base_image), image_builders.find(os.environ, builder)
    rows = []
    with screen.board() as board:
        for item in operation.build(request, found, source=source, vendor=vendor, environ=os.environ):
            board.update(item.service, "ready" if item.done else "building", item.line, item.seconds)
            rows += [asdict(item.done)] if item.done else []
    if vendor is None:
        sys.stderr.write("! the page has no Socket.IO client and will ask for changes (todoctl tools install)\n")
    cells = [(row["service"], row["reference"], row["id"], row["seconds"]) for row in rows]
    screen.show(rows, output, lambda: screen.table(("SERVICE", "IMAGE", "ID", "SECONDS"), cells))


@app.command()
def push(
    ctx: typer.Context,
    services: ServicesArgument = None,
    tag: Annotated[str, typer.Option("--tag", help="One tag in the place of two: the version and the commit.")] = "",
    registry: RegistryOption = None,
    builder: BuilderOption = "",
    insecure: Annotated[
        bool,
        typer.Option(
            "--insecure", help="Plain HTTP, or a certificate that nobody vouches for; without it on localhost alone."
        ),
    ] = False,
    digests: Annotated[
        Path | None,
        typer.Option("--digests", metavar="FILE", help="Write the digests as a values file, for deploy -f FILE."),
    ] = None,
    output: OutputOption = Output.table,
) -> None:
    """Push built images to a registry and tell the digest of each.

    A release takes them by digest: todoctl images push --digests FILE, then todoctl deploy -f FILE.
    Exit 3 when the registry can't be reached, 9 when it does not let you in, 8 when it speaks plain HTTP.
    """
    tags = (tag,) if tag else operation.public_tags(operation.source())
    request = _asked(ctx, services, tags, registry)
    # Before a builder is looked for: which one there is changes nothing about it.
    image_delivery.require_registry(request)
    found = image_builders.find(os.environ, builder)
    rows = []
    with screen.board() as board:
        for item in image_delivery.push(request, found, insecure=insecure, environ=os.environ):
            board.update(item.service, "ready" if item.done else "pushing", item.line, item.seconds)
            rows += [item.done] if item.done else []
    if digests is not None:
        home = registry or context.values(context.settings(ctx)).kubernetes.images.registry  # type: ignore[union-attr]
        _write(digests, values_of_digests(home.rstrip("/"), {row.service: row.digest for row in rows}))
        screen.ok(context.aimed(ctx, f"todoctl deploy -f {digests} takes these images by digest"))
    cells = [(row.service, row.digest, ", ".join(row.tags), row.seconds) for row in rows]
    screen.show(
        [asdict(row) for row in rows],
        output,
        lambda: screen.table(("SERVICE", "DIGEST", "TAGS", "SECONDS"), cells),
    )


@app.command()
def load(
    ctx: typer.Context,
    services: ServicesArgument = None,
    tag: Annotated[str, typer.Option("--tag", help="A tag in the place of the content's.")] = "",
    builder: BuilderOption = "",
    output: OutputOption = Output.table,
) -> None:
    """Load built images into the nodes of a Minikube, and have the next deploy take them.

    By default those that were built of what lies there now. Exit 8 in another cluster: it gets its images from a registry.
    """
    from todoctl.operations.minikube import loading, needs

    settings = context.settings(ctx)
    if settings.environment.kind != "minikube":
        raise RefusedError(
            f"only a Minikube gets its images from this machine; {settings.name!r} is {settings.environment.kind}",
            hint="the processes of a local environment need none"
            if settings.environment.kind == "local"
            else f"todoctl -e {settings.name} images push --digests FILE; todoctl -e {settings.name} deploy -f FILE",
        )
    tag = tag or operation.content_tag(operation.source(), _vendor(ctx))
    values, found = context.values(settings), image_builders.find(os.environ, builder)
    request, into = loading.named(settings, values, services or (), tag), needs.minikube(settings, os.environ)
    rows = []
    with screen.board() as board:
        for item in loading.load(request, found, into, environ=os.environ):
            board.update(item.service, "ready" if item.done else "loading", item.line, item.seconds)
            rows += [asdict(item.done)] if item.done else []
    loading.write_values(settings, values, tag)
    screen.ok(f"todoctl -e {settings.name} deploy takes the images with the tag {tag}")
    screen.show(
        rows, output, lambda: screen.table(("SERVICE", "IMAGE", "SECONDS"), [tuple(row.values()) for row in rows])
    )


def _asked(
    ctx: typer.Context, services: list[str] | None, tags: tuple[str, ...], registry: str | None, base_image: str = ""
) -> operation.Request:
    settings = context.settings(ctx)
    named = images(context.values(settings), registry=registry)
    of = "" if settings.environment.kind == "local" else f"-e {settings.name} "
    return operation.Request(named, tuple(services or ()), tags, base_image, f"todoctl {of}images build")


def _vendor(ctx: typer.Context) -> Path | None:
    return operation.vendor(context.settings(ctx).cache, os.environ)


def _write(file: Path, document: dict[str, Any]) -> None:
    import yaml

    try:
        file.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    except OSError as error:
        raise TodoctlError(
            f"the images are pushed, but {file} can't be written: {error.strerror}", hint="push again: it is quick"
        ) from error
