"""`todoctl down`."""

from __future__ import annotations

from typing import Annotated

import typer

from todoctl import screen
from todoctl.commands import context
from todoctl.operations.local import down, state

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def main(
    ctx: typer.Context,
    purge: Annotated[bool, typer.Option("--purge", help="Also remove all data of the environment.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Agree to --purge without being asked.")] = False,
) -> None:
    """Stop the platform; no process of it is left."""
    settings = context.settings(ctx)
    context.require_local(settings, "down")
    if purge and settings.state.exists():
        screen.confirm(f"remove all data of {settings.name!r} in {settings.state}?", yes=yes)
    with state.lock(settings, "down", seconds=60):
        stopped = 0
        for item in down.bring_down(settings, purge=purge):
            screen.ok(f"{item.name} {item.how}")
            stopped += 1
    if not stopped:
        screen.ok("nothing was running")
