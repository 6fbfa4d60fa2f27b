"""`todoctl down`."""

from __future__ import annotations

from typing import Annotated

import typer

from todoctl import screen
from todoctl.commands import context

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def main(
    ctx: typer.Context,
    purge: Annotated[bool, typer.Option("--purge", help="Also remove all data of the environment.")] = False,
    foreign: Annotated[
        bool, typer.Option("--foreign", help="Also a Minikube profile that todoctl did not make.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Agree to --purge without being asked.")] = False,
) -> None:
    """Stop the platform; no process of it is left.

    In Minikube: stops the profile, or with --purge removes it; exit 8 when todoctl did not make it.
    """
    life = context.lifecycle(ctx)
    if purge and (lost := life.loses()):
        screen.confirm(f"remove {lost}?", yes=yes)
    with life.alone("down", seconds=60):
        stopped = 0
        for item in life.down(purge=purge, foreign=foreign):
            screen.ok(f"{item.name} {item.how}")
            stopped += 1
    if not stopped:
        screen.ok("nothing was running")
