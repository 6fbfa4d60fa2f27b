"""`todoctl restart`."""

from __future__ import annotations

from typing import Annotated

import typer

from todoctl import screen
from todoctl.commands import context, timeouts
from todoctl.operations.local import running

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def main(
    ctx: typer.Context,
    services: Annotated[list[str], typer.Argument(metavar="SERVICE", help="Services to restart.")],
    timeout: timeouts.OF_ONE_PART = 60,
) -> None:
    """Restart services with their sidecars, after an edit of their code for instance.

    Other parts keep running. A consumer that paused itself starts over. A release that runs is started again as it is:
    edits are for the next one, or for `todoctl up --checkout`.
    """
    settings, there = context.settings(ctx), context.platform(ctx)
    if settings.environment.kind == "local" and (what := running.words(settings)):
        said = f"{what} runs; edits of the checkout are not in it (todoctl deploy, or todoctl up --checkout)"
        screen.note(context.aimed(ctx, said))
    screen.follow(there.restart(services, seconds=timeout))
