"""`todoctl topics`."""

from __future__ import annotations

import typer

from todoctl.commands.topics import tail

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)


@app.callback()
def root() -> None:
    """See what flows through Kafka: topics, records and lag; append records; make topics agree with the chart."""


app.command("tail")(tail.tail)
