"""`todoctl open`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from todoctl import screen
from todoctl.commands import context
from todoctl.core.parts import sends_mail
from todoctl.core.ports import LOOPBACK, sidecar_port
from todoctl.operations.local import state
from todoctl.screen import Output

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def main(
    ctx: typer.Context,
    output: Annotated[Output, typer.Option("-o", "--output", help="How to write the result.")] = Output.table,
    browser: Annotated[bool, typer.Option(help="On a terminal, open the API's address in the browser.")] = True,
) -> None:
    """Print every address; on a terminal open the page."""
    settings = context.settings(ctx)
    context.require_local(settings, "open")
    values = context.values(settings)
    recorded = state.load(settings, values)
    ports = recorded.ports
    urls = {name: f"http://{LOOPBACK}:{ports[name]}" for name in values.services}
    urls |= {f"{name} metrics": f"{urls[name]}/metrics" for name in values.services}
    urls |= {f"{name} sidecar": f"http://{LOOPBACK}:{ports[sidecar_port(name, 'http')]}" for name in values.services}
    urls |= {"kafka": f"{LOOPBACK}:{ports['kafka']}", "postgres": f"{LOOPBACK}:{ports['postgres']}"}
    if sends_mail(values):
        urls["mail sink"] = f"{LOOPBACK}:{ports['mailsink']}"
    screen.show(urls, output, lambda: screen.pairs(urls))
    if browser and output is Output.table and sys.stdout.isatty():
        typer.launch(urls["api"])
