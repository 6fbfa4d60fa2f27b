"""`todoctl open`."""

from __future__ import annotations

import signal
import sys
from typing import Annotated

import typer

from todoctl import screen
from todoctl.commands import context
from todoctl.errors import UsageError
from todoctl.screen import Output

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def main(
    ctx: typer.Context,
    output: Annotated[Output, typer.Option("-o", "--output", help="How to write the result.")] = Output.table,
    browser: Annotated[bool, typer.Option(help="On a terminal, open the API's address in the browser.")] = True,
    forward: Annotated[
        bool, typer.Option("--forward", help="Hold ports of this machine that lead to the page, until Ctrl-C.")
    ] = False,
) -> None:
    """Print every address; on a terminal open the page.

    With --forward, ports of this machine lead to a page in a cluster that has no address outside of it.
    """
    there = context.platform(ctx)
    urls = dict(there.forward() if forward else there.urls())
    if forward and not urls:
        raise UsageError("everything is on this machine already: there is nothing to forward", hint="todoctl open")
    screen.show(urls, output, lambda: screen.pairs(urls))
    # Whoever reads it from a pipe would wait for the end.
    sys.stdout.flush()
    page = urls.get("page") or urls["api"]
    if browser and output is Output.table and sys.stdout.isatty():
        typer.launch(page)
    if forward:
        screen.note(f"{page} leads into the cluster until Ctrl-C")
        signal.pause()
