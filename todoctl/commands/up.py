"""`todoctl up`."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from todoctl import screen
from todoctl.commands import context
from todoctl.operations.local import down, running, state, up

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
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=1, help="How long one part may take to be ready.")
    ] = 120,
) -> None:
    """Bring the platform up and prove that it works.

    Installs what is missing, starts every part as soon as what it needs is ready, and waits until each one proves
    itself. Run again it changes nothing; after a crash it repairs. Once there is a release it runs that one, whatever was
    edited since; without one it runs the checkout.
    """
    settings = context.settings(ctx)
    context.require_local(settings, "up")
    with state.lock(settings, "up", seconds=timeout):
        if checkout:
            running.run_checkout(settings)
        if stuck := running.stuck(settings):
            screen.warn(f"{stuck}; what ran before it is brought up, todoctl unlock writes it down as failed")
        values = context.values(settings)
        run = up.begin(settings, values, os.environ, seconds=timeout)
        for name in run.moved_ports:
            screen.warn(f"port of {name} was taken by another program; it is {run.state.ports[name]} now")
        try:
            screen.follow(run.steps())
        except KeyboardInterrupt:
            if "supervisord" in run.started:
                screen.note("interrupted: stopping what was started")
                for _ in down.bring_down(settings, purge=False):
                    pass
            raise
    if run.started and smoke:
        context.run_smoke(settings, values)
    what = running.words(settings)
    screen.ok(f"the platform is up{what and f' with {what}'}: http://127.0.0.1:{run.state.ports['api']}")
