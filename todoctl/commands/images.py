"""`todoctl images`: the images of the services, built on this machine."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

import todoctl
from todoctl import __version__, screen
from todoctl.adapters import image_builders
from todoctl.commands import context
from todoctl.core.images import images
from todoctl.operations import images as operation
from todoctl.operations import tools
from todoctl.screen import Output

app = typer.Typer(
    help="Build the images of the services.", no_args_is_help=True, add_completion=False, rich_markup_mode=None
)


@app.callback()
def group() -> None:
    """Build the images of the services."""


@app.command()
def build(
    ctx: typer.Context,
    services: Annotated[
        list[str] | None, typer.Argument(metavar="SERVICE", help="Services; without a name all of them.")
    ] = None,
    tag: Annotated[str, typer.Option("--tag", help="The images' tag.")] = __version__,
    registry: Annotated[
        str | None, typer.Option("--registry", metavar="HOST/PATH", help="In the place of the values' registry.")
    ] = None,
    builder: Annotated[
        str, typer.Option("--builder", metavar="NAME", help="docker, podman or buildah; else the first one found.")
    ] = "",
    base_image: Annotated[
        str, typer.Option("--base-image", metavar="IMAGE", help="An image with Python 3.11 or later.")
    ] = "",
    output: Annotated[Output, typer.Option("-o", "--output", help="How the result is written.")] = Output.table,
) -> None:
    """Build an image for each service, the migrations and the mail sink; the same content gives the same image."""
    settings = context.settings(ctx)
    request = operation.Request(
        images(context.values(settings), registry=registry), tuple(services or ()), tag, base_image
    )
    client = tools.find("socket.io-client", settings.cache, environ=os.environ)
    found = image_builders.find(os.environ, builder)
    # In a checkout as in an installation, the services lie beside this package.
    source, vendor = Path(todoctl.__file__).parents[1], client.path if client else None
    rows = []
    with screen.board() as board:
        for item in operation.build(request, found, source=source, vendor=vendor, environ=os.environ):
            board.update(item.service, "ready" if item.built else "building", item.line, item.seconds)
            rows += [asdict(item.built)] if item.built else []
    if client is None:
        sys.stderr.write("! the page has no Socket.IO client and will ask for changes (todoctl tools install)\n")
    screen.show(
        rows,
        output,
        lambda: screen.table(("SERVICE", "IMAGE", "ID", "SECONDS"), [tuple(row.values()) for row in rows]),
    )
