"""`todoctl tools`: the programs that environments use, where each was found, and installing what is missing."""

from __future__ import annotations

import os
import sys
from typing import Annotated, Any

import typer

from todoctl import screen
from todoctl.commands import context
from todoctl.errors import UnhealthyError
from todoctl.operations import tools
from todoctl.screen import Output

app = typer.Typer(
    help="List or install the programs that environments use.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

OutputOption = Annotated[Output, typer.Option("-o", "--output", help="How the result is written.")]


@app.command("list")
def list_(
    ctx: typer.Context,
    output: OutputOption = Output.table,
    verify: Annotated[
        bool, typer.Option("--verify", help="Hash every installed file; exit 3 when one differs.")
    ] = False,
) -> None:
    """Show every tool: the pinned version, where it was found, and why there."""
    listed = tools.listing(context.settings(ctx).cache, environ=os.environ, verify=verify)
    screen.show([_row(item) for item in listed], output, lambda: _table(listed))
    broken = tuple(f"{item.name}: {item.broken}" for item in listed if item.broken)
    if broken and verify:
        raise UnhealthyError(
            "files in the cache are not as they were installed", detail=broken, hint="todoctl tools install"
        )


@app.command()
def install(
    ctx: typer.Context,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="NAME", help="Tools; without a name all that the local environment needs."),
    ] = None,
    output: OutputOption = Output.table,
) -> None:
    """Install what is missing or broken; what is there and sound stays."""
    cache = context.settings(ctx).cache
    found = []
    news = tools.install_all(names or tools.names(), cache, environ=os.environ, verify=True)
    with screen.board() as board:
        for progress in tools.thin(news, every=0.25 if sys.stderr.isatty() else 15):
            state = progress.phase if progress.result or progress.error else "installing"
            # An error is told in full at the end.
            detail = "" if progress.error else tools.sentence(progress)
            board.update(progress.tool, state, detail, progress.elapsed)
            found += [progress.result] if progress.result else []
    rows = [_tool(tool) for tool in found]
    screen.show(
        rows, output, lambda: screen.table(("TOOL", "VERSION", "FROM", "PATH"), [tuple(row.values()) for row in rows])
    )


def _tool(tool: tools.Tool) -> dict[str, str]:
    return {"name": tool.name, "version": tool.version, "source": tool.source, "path": str(tool.path)}


def _row(item: tools.Listed) -> dict[str, Any]:
    tool = item.tool
    return {
        "name": item.name,
        "purpose": item.purpose,
        "pinned": item.pinned,
        "needed": item.needed,
        "found": tool is not None,
        "version": tool.version if tool else None,
        "source": tool.source if tool else None,
        "path": str(tool.path) if tool else None,
        "why": tool.why if tool else None,
        "broken": item.broken or None,
        "looked": [{"source": source, "reason": answer.reason} for source, answer in item.looked],
    }


def _table(listed: list[tools.Listed]) -> None:
    rows: list[tuple[object, ...]] = []
    for item in listed:
        if tool := item.tool:
            why = "; ".join([tool.why, *(answer.reason for _, answer in item.looked if answer.unfit)])
            rows.append((item.name, item.pinned, tool.version, tool.source, tool.path, why))
        else:
            state = "missing" if item.needed else "not needed now"
            why = "; ".join(answer.reason for _, answer in item.looked)
            rows.append((item.name, item.pinned, "-", state, "-", why))
    screen.table(("TOOL", "PINNED", "VERSION", "FROM", "PATH", "WHY"), rows)
