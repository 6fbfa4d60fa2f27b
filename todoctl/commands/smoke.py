"""`todoctl smoke`."""

from __future__ import annotations

from typing import Annotated

import typer

from todoctl.commands import context, timeouts
from todoctl.screen import Output

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def main(
    ctx: typer.Context,
    output: Annotated[Output, typer.Option("-o", "--output", help="How to write the timeline.")] = Output.table,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", min=1, max=timeouts.LONGEST, help="How long the whole chain may take.")
    ] = 30,
) -> None:
    """Play the main job through the public API and show its timeline.

    Creates a recurring task, completes it, and follows it: request, event on the topic, the message on an open socket,
    next occurrence, audit rows, and the mail of a reminder that is due two seconds later.
    Exit 3 names the link that is missing.
    """
    settings = context.settings(ctx)
    context.run_smoke(settings, context.values(settings), output=output, seconds=timeout)
