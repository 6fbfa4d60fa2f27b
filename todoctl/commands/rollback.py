"""`todoctl rollback`."""

from __future__ import annotations

from typing import Annotated

import typer

from todoctl import screen
from todoctl.commands import context, timeouts
from todoctl.screen import Output

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def main(
    ctx: typer.Context,
    revision: Annotated[
        int | None,
        typer.Argument(metavar="[REVISION]", min=1, help="The release to go back to; the one before by default."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what it would do, and what is in the way.")
    ] = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="Go back although events that it can't read may wait, or that can't be told."),
    ] = False,
    smoke: Annotated[bool, typer.Option(help="End with `todoctl smoke`; a broken chain is a failed release.")] = True,
    yes: Annotated[bool, typer.Option("--yes", help="Agree to --force without being asked.")] = False,
    output: Annotated[Output, typer.Option("-o", "--output", help="How to write the release.")] = Output.table,
    timeout: timeouts.OF_ONE_PART = 120,
) -> None:
    """Go back to an earlier release, when it can live with what there is now.

    Compares the schema and the event versions that it reads with the database, with what waits on the topics and with
    the dead letters. Exit 8 says why it can't and what to do; --force overrides what concerns events, or could not be
    asked, never a schema that it can't live on.
    It becomes a new release with the earlier one's code and values; the schema stays.
    """
    settings = context.settings(ctx)
    releases = context.releases(ctx, seconds=timeout)
    with releases.alone("rollback"), releases.rollback(revision) as change:
        if dry_run:
            screen.show(change.plan.document(), output, lambda: context.show_differences(change.plan))
            change.plan.require_free(force=force)
            return
        context.narrate_differences(change.plan)
        if change.plan.differences:
            change.plan.require_free(force=force)
            if change.plan.obstacles:
                screen.confirm("; ".join(item.reason for item in change.plan.obstacles) + ": go back?", yes=yes)
            context.carry_out(change, releases, context.proof(settings) if smoke else None)
        else:
            screen.ok(f"nothing to do: what runs has the code and the values of release {change.plan.returns_to}")
        release = change.outcome()
    screen.show(
        release.model_dump(mode="json"),
        output,
        lambda: screen.ok(f"release {release.revision} runs"),
    )
