"""`todoctl topics`."""

from __future__ import annotations

import typer

from todoctl.commands.lazy import group

_COMMANDS = {
    "list": "listing:list_topics",
    "describe": "listing:describe",
    "tail": "tail:tail",
    "lag": "lag:lag",
    "produce": "produce:produce",
    "apply": "apply:apply",
}

app = typer.Typer(
    cls=group({name: f"{__name__}.{place}" for name, place in _COMMANDS.items()}),
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
)


@app.callback()
def root() -> None:
    """See what flows through Kafka: topics, records and lag; append records; make topics agree with the chart."""
