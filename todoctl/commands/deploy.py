"""`todoctl deploy`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from todoctl import screen
from todoctl.commands import context, timeouts
from todoctl.core.releases import Strategy
from todoctl.screen import Output

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def main(
    ctx: typer.Context,
    strategy: Annotated[
        Strategy, typer.Option(help="Replace pod by pod, or switch to a second colour (clusters only).")
    ] = "rolling",
    smoke: Annotated[bool, typer.Option(help="End with `todoctl smoke`; a broken chain is a failed release.")] = True,
    allow_contract: Annotated[
        bool,
        typer.Option(
            "--allow-contract", help="Also apply a migration after which an older release can't be gone back to."
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Agree to --allow-contract without being asked.")] = False,
    files: Annotated[
        list[Path] | None,
        typer.Option("-f", "--values", metavar="FILE", help="Values on top, such as the digests of images push."),
    ] = None,
    output: Annotated[Output, typer.Option("-o", "--output", help="How to write the release.")] = Output.table,
    timeout: timeouts.OF_ONE_PART = 120,
) -> None:
    """Make a release of the code and values at hand and switch to it, service by service.

    Shows what differs, migrates, then replaces one service after the other behind its health checks while the rest serves.
    In a cluster Helm applies the chart, and Strimzi's Kafka, migration, pods and sidecars are waited for; a crash, or what
    Strimzi refuses, ends it early.
    With --strategy blue-green, in a cluster, the new release gets pods of its own beside those that run: they take no events,
    no jobs and no requests, and are tried by a preview. Then they are switched on and requests turn to them; the old ones
    finish what they have and stay, idle, so that `rollback` is instant, until the next deploy. Needs room for both; local refuses it (exit 2).
    What fails goes back by itself, after its evidence was kept: exit 1, and exit 3 when going back failed too.
    Exit 8 when it is refused: another deploy works, one was killed, or a migration would cut off the way back.
    Exit 7 when it runs and a cloud gave its balancer no address in time.
    """
    settings = context.settings(ctx)
    releases = context.releases(ctx, seconds=timeout, files=files or ())
    with releases.alone("deploy"), releases.deploy(strategy) as change:
        context.narrate_differences(change.plan)
        if change.plan.differences:
            change.plan.require_free(force=allow_contract)
            if change.plan.obstacles:
                screen.confirm("; ".join(item.reason for item in change.plan.obstacles) + ": go on?", yes=yes)
            context.carry_out(change, releases, context.proof(settings) if smoke else None)
        else:
            screen.ok("nothing to deploy: the release that runs has this code and these values")
        release = change.outcome()
    screen.show(release.model_dump(mode="json"), output, lambda: screen.ok(f"release {release.revision} runs"))
