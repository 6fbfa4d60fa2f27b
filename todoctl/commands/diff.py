"""`todoctl diff`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from todoctl import screen
from todoctl.commands import context
from todoctl.errors import DifferenceError
from todoctl.screen import Output

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def main(
    ctx: typer.Context,
    revision: Annotated[
        int | None,
        typer.Argument(metavar="[REVISION]", min=1, help="A release; the code and values at hand by default."),
    ] = None,
    files: Annotated[
        list[Path] | None,
        typer.Option("-f", "--values", metavar="FILE", help="Values on top, as deploy would get them."),
    ] = None,
    output: Annotated[Output, typer.Option("-o", "--output", help="How to write the result.")] = Output.table,
) -> None:
    """Show what a deploy, or going back to a release, would change, with its risks.

    Code by files, in a cluster images and objects, values, migrations with what their statements lock, topics, event schemas.
    Secrets are masked. In a cluster the image is asked what it needs, in a pod that lives for a moment.
    Exit 0 when nothing differs, 4 when something does.
    """
    plan = context.releases(ctx, seconds=60, files=files or ()).diff(revision)
    screen.show(plan.document(), output, lambda: context.show_differences(plan))
    if plan.differences:
        hint = f"todoctl rollback {revision}" if revision else "todoctl deploy"
        raise DifferenceError(f"{len(plan.differences)} differences, risk {plan.document()['risk']}", hint=hint)
