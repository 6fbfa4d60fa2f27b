"""`todoctl topics`."""

from __future__ import annotations

import typer

from todoctl.commands.topics import apply, lag, listing, produce, tail

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)


@app.callback()
def root() -> None:
    """See what flows through Kafka: topics, records and lag; append records; make topics agree with the chart."""


app.command("list")(listing.list_topics)
app.command("describe")(listing.describe)
app.command("tail")(tail.tail)
app.command("lag")(lag.lag)
app.command("produce")(produce.produce)
app.command("apply")(apply.apply)
