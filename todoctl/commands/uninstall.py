"""`todoctl uninstall`: operators out of the environment's cluster."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from todoctl import screen
from todoctl.commands import context, timeouts
from todoctl.core.operators import OPERATORS
from todoctl.screen import Output

if TYPE_CHECKING:
    from todoctl.operations.operators.uninstalling import Removal

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def main(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="OPERATOR", help=f"One of: {', '.join(OPERATORS)}.")],
    purge: Annotated[
        bool, typer.Option("--purge", help="Also remove its definitions, its disks and its namespace.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what it would do, and what is in the way.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Agree without being asked.")] = False,
    output: Annotated[Output, typer.Option("-o", "--output", help="How to write the plan.")] = Output.table,
    timeout: timeouts.OF_ALL = 300,
) -> None:
    """Remove an operator from the environment's cluster, when nothing there depends on it.

    Shows what it removes and what it keeps, and asks. Exit 8 while objects of its kinds or pods with its sidecars are
    there. Definitions, disks and keys stay, unless --purge says otherwise. Run again it changes nothing.
    """
    from todoctl.operations.operators import site as sites
    from todoctl.operations.operators import uninstalling

    operator = sites.operator(name)
    with sites.opened(context.settings(ctx), os.environ) as site:
        removal = uninstalling.plan(site, operator, purge=purge)
        _tell(removal)
        if not dry_run:
            removal.require_unused()
            if removal.changes:
                screen.confirm(f"remove {name} from the cluster of context {site.kube.access.context}?", yes=yes)
                screen.follow(uninstalling.carry_out(site, removal, seconds=timeout))
            else:
                screen.ok(f"nothing to do: there is no release {operator.release} in {operator.namespace}")
    screen.show({**removal.document(), "done": not dry_run}, output, lambda: _table(removal))
    if dry_run:
        removal.require_unused()


def _tell(removal: Removal) -> None:
    for action in removal.actions:
        say = screen.warn if action.change == "remove" else screen.note
        say(f"{action.change} {action.kind} {action.name}{': ' + action.detail if action.detail else ''}")
    for kept in removal.kept:
        screen.note(f"keep {kept}")


def _table(removal: Removal) -> None:
    screen.table(
        ("CHANGE", "KIND", "NAME", "DETAIL"),
        [(action.change, action.kind, action.name, action.detail) for action in removal.actions],
    )
    for user in removal.users:
        screen.write(f"in the way: {user}")
