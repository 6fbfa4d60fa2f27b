"""`todoctl env`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from todoctl import screen
from todoctl.commands import context
from todoctl.screen import Output
from todoctl.settings import Settings

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)

_OUTPUT = Annotated[Output, typer.Option("-o", "--output", help="How to write the result.")]


@app.callback()
def root() -> None:
    """List environments and show where each setting comes from."""


@app.command("list")
def list_environments(ctx: typer.Context, output: _OUTPUT = Output.table) -> None:
    """List the environments that are defined."""
    current = context.settings(ctx)
    rows = [
        {
            "name": name,
            "kind": environment.kind,
            "context": environment.context,
            "namespace": environment.namespace,
            "from": current.origins[f"environments.{name}"],
            "current": name == current.name,
        }
        for name, environment in current.environments.items()
    ]
    cells = [("*" if r["current"] else "", r["name"], r["kind"], r["context"], r["namespace"], r["from"]) for r in rows]
    screen.show(rows, output, lambda: screen.table(("", "NAME", "KIND", "CONTEXT", "NAMESPACE", "FROM"), cells))


@app.command()
def show(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(help="The environment; by default the current one.")] = None,
    output: _OUTPUT = Output.table,
) -> None:
    """Show every setting of an environment and where it comes from; secrets are shown as references."""
    current = context.settings(ctx, environment=name)
    rows = [{"setting": key, "value": value, "from": origin} for key, value, origin in _rows(current)]
    cells = [(row["setting"], row["value"], row["from"]) for row in rows]
    screen.show(rows, output, lambda: screen.table(("SETTING", "VALUE", "FROM"), cells))


def _rows(current: Settings) -> list[tuple[str, Any, str]]:
    origin = current.origins[f"environments.{current.name}"]
    rows: list[tuple[str, Any, str]] = [("environment", current.name, current.origins["environment"])]
    rows += [(name, str(getattr(current, name)), current.origins[name]) for name in ("home", "cache", "chart")]
    given = current.environment.model_fields_set
    for key, value in _flat(current.environment.model_dump(mode="json", exclude_none=True)):
        rows.append((key, value, origin if key.partition(".")[0] in given else "default"))
    return rows


def _flat(document: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for key, value in document.items():
        if isinstance(value, dict):
            rows += _flat(value, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", ", ".join(value) if isinstance(value, list) else value))
    return rows
