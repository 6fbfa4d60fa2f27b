"""`todoctl open`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from todoctl import screen
from todoctl.commands import context
from todoctl.screen import Output

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def main(
    ctx: typer.Context,
    output: Annotated[Output, typer.Option("-o", "--output", help="How to write the result.")] = Output.table,
    browser: Annotated[bool, typer.Option(help="On a terminal, open the API's address in the browser.")] = True,
) -> None:
    """Print every address; on a terminal open the page."""
    urls = dict(context.platform(ctx).urls())
    screen.show(urls, output, lambda: screen.pairs(urls))
    if browser and output is Output.table and sys.stdout.isatty():
        typer.launch(urls["api"])
