"""`todoctl users`."""

from __future__ import annotations

from typing import Annotated

import typer

from todoctl import screen
from todoctl.adapters import accounts
from todoctl.commands import context
from todoctl.screen import Output

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)

_OUTPUT = Annotated[Output, typer.Option("-o", "--output", help="How to write the result.")]
_EMAIL = Annotated[str, typer.Argument(metavar="EMAIL", help="The address that the user registered with.")]


@app.callback()
def root() -> None:
    """Make users operators, who see what belongs to others, or take that back."""


@app.command()
def grant(ctx: typer.Context, email: _EMAIL, output: _OUTPUT = Output.table) -> None:
    """Make a user an operator, from the next log-in on; one that is stays one."""
    _set(ctx, email, "operator", output)
    screen.note("tokens that the user has already are those of no operator: log in again")


@app.command()
def revoke(ctx: typer.Context, email: _EMAIL, output: _OUTPUT = Output.table) -> None:
    """Make an operator an ordinary user again; a token that was given out before is good until it ends."""
    _set(ctx, email, "user", output)
    screen.warn("tokens that the user has already stay those of an operator until they end, within an hour")


def _set(ctx: typer.Context, email: str, role: accounts.Role, output: Output) -> None:
    there = context.platform(ctx)
    user = accounts.set_role(there.internal("auth"), there.app_token(), email, role)
    screen.show(user, output, lambda: screen.pairs(user))
