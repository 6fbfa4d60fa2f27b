"""`todoctl db`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from todoctl import screen
from todoctl.commands import context, timeouts
from todoctl.errors import DifferenceError
from todoctl.operations.local import state
from todoctl.screen import Output

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)

_OUTPUT = Annotated[Output, typer.Option("-o", "--output", help="How to write the result.")]
_TIMEOUT = Annotated[
    float, typer.Option(metavar="SECONDS", min=1, max=timeouts.LONGEST, help="How long the migration may take.")
]


@app.callback()
def root() -> None:
    """Show or migrate the database schema."""


@app.command()
def status(
    ctx: typer.Context,
    output: _OUTPUT = Output.table,
    check: Annotated[bool, typer.Option("--check", help="Exit 4 when migrations are pending.")] = False,
) -> None:
    """Show the schema's revision and the migrations that are pending."""
    seen = _run(ctx, "status", seconds=30)
    screen.show(seen, output, lambda: screen.pairs({**seen, "pending": ", ".join(seen["pending"]) or "none"}))
    if check and seen["pending"]:
        raise DifferenceError(f"{len(seen['pending'])} migrations are pending", hint="todoctl db migrate")


@app.command()
def migrate(ctx: typer.Context, output: _OUTPUT = Output.table, timeout: _TIMEOUT = 300) -> None:
    """Apply the pending migrations; two runners at once do not fight, and a killed one can be run again."""
    settings = context.settings(ctx)
    with state.lock(settings, "db migrate", seconds=timeout):
        seen = _run(ctx, "upgrade", seconds=timeout)
    screen.show(seen, output, lambda: screen.ok(f"the schema is at {seen['current']}"))


@app.command()
def downgrade(
    ctx: typer.Context,
    revision: Annotated[str, typer.Argument(help="The revision to go back to.")],
    yes: Annotated[bool, typer.Option("--yes", help="Agree without being asked.")] = False,
    output: _OUTPUT = Output.table,
    timeout: _TIMEOUT = 300,
) -> None:
    """Go back to an older revision; what newer tables hold is lost."""
    settings = context.settings(ctx)
    screen.confirm(f"go back to revision {revision} and lose what newer tables of {settings.name!r} hold?", yes=yes)
    with state.lock(settings, "db downgrade", seconds=timeout):
        seen = _run(ctx, "downgrade", revision, seconds=timeout)
    screen.show(seen, output, lambda: screen.ok(f"the schema is at {seen['current']}"))


def _run(ctx: typer.Context, *arguments: str, seconds: float) -> dict[str, Any]:
    return context.platform(ctx).migrate(*arguments, seconds=seconds)
