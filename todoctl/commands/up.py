"""`todoctl up`."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from todoctl import screen
from todoctl.commands import context, timeouts
from todoctl.operations.lifecycle import Asked

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def main(
    ctx: typer.Context,
    smoke: Annotated[bool, typer.Option(help="End with `todoctl smoke`, when anything was started.")] = True,
    checkout: Annotated[
        bool,
        typer.Option(
            "--checkout",
            help="Run the code and values at hand in place of the release, until the next deploy or rollback.",
        ),
    ] = False,
    bundle: Annotated[
        Path | None,
        typer.Option(
            "--bundle",
            metavar="PATH",
            help="A folder or archive with the charts of Dapr and Strimzi, for a Minikube without a network.",
        ),
    ] = None,
    timeout: timeouts.OF_ONE_PART = 120,
) -> None:
    """Bring the platform up and prove that it works.

    Installs what is missing, starts every part as soon as what it needs is ready, and waits until each one proves
    itself. Run again it changes nothing; after a crash it repairs. Once there is a release it runs that one, whatever was
    edited since; without one it runs the checkout.

    In Minikube: makes or starts the profile, builds and loads images, installs Dapr and Strimzi, and releases the code and
    values at hand. Exit 9 when minikube, helm, a builder or a driver is missing, 8 when the profile is too small.
    """
    settings, life = context.settings(ctx), context.lifecycle(ctx)
    with life.alone("up", seconds=timeout):
        try:
            # Closed before anything is undone: it holds what the undoing needs.
            with closing(life.up(Asked(timeout, checkout, bundle), screen.warn)) as events:
                screen.follow(events)
        except KeyboardInterrupt:
            screen.note("interrupted: ending what can't be left as it is")
            for _ in life.undo():
                pass
            raise
    if life.has_changed and smoke:
        context.run_smoke(settings, context.values(settings), seconds=timeout)
    screen.ok(life.words())
