"""`todoctl history`."""

from __future__ import annotations

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
) -> None:
    """List the releases: what, when, by whom, and what became of each."""
    history = context.releases(ctx, seconds=60).history()
    cells = [
        (
            item.revision,
            item.state,
            item.app_version,
            item.code.removeprefix("sha256:")[:12],
            item.schema_revision,
            item.events_written,
            f"{item.created_at:%Y-%m-%d %H:%M:%S}",
            item.by,
            item.result,
        )
        for item in history
    ]
    headings = ("REVISION", "STATE", "VERSION", "CODE", "SCHEMA", "EVENTS", "MADE (UTC)", "BY", "RESULT")
    screen.show([item.model_dump(mode="json") for item in history], output, lambda: screen.table(headings, cells))
