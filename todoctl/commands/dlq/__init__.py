"""`todoctl dlq`: `reading` looks, `working` and `deciding` act, `outcome` tells, `options` is what they share."""

from __future__ import annotations

import typer

from todoctl.commands.dlq import deciding, reading, working

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True)

app.command("list")(reading.list_letters)
app.command("show")(reading.show)
app.command("stats")(reading.stats)
app.command("plan")(working.plan)
app.command("replay")(working.replay)
app.command("park")(deciding.park)
app.command("purge")(deciding.purge)


@app.callback()
def root() -> None:
    """See dead letters, and repair them: list, plan, replay.

    A consumer was broken for an hour? Mend it, then:

    \b
        todoctl dlq list                 what died, for whom and why
        todoctl dlq plan                 writes a plan file to review
        todoctl dlq replay --plan FILE   sends it again and says what came of it

    Letters are re-published exactly once, applied effectively once: a letter's record and the decision about it are one
    Kafka transaction, and consumers know an event by its id. All consumers of a topic see its records again, a replay
    for one of them alone can't be. Interrupted or killed, the same command goes on where it was.
    """  # noqa: D301 - the escape keeps the lines apart in the help
