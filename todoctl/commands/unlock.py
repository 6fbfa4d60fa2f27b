"""`todoctl unlock`."""

from __future__ import annotations

import typer

from todoctl import screen
from todoctl.commands import context, timeouts
from todoctl.core.releases import deployed

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def main(
    ctx: typer.Context,
    timeout: timeouts.OF_ONE_PART = 120,
) -> None:
    """Repair a release whose deploy was killed: what ran before runs again.

    Services that were switched already go back behind their health checks; the release is written down as failed.
    In a cluster it ends what Helm left pending; a first release, with nothing to go back to, is removed. A switch between
    colours is undone; a way back to the other colour that has let go of the pods that ran is finished instead.
    Exit 8 while a deploy works on it: that one is not stuck.
    """
    releases = context.releases(ctx, seconds=timeout)
    with releases.alone("unlock"):
        screen.follow(releases.unlock())
    running = deployed(releases.history())
    screen.ok(f"unlocked: release {running.revision} runs" if running else "unlocked: what ran before runs again")
