"""`todoctl dlq park` and `purge`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from todoctl import screen
from todoctl.commands import context
from todoctl.commands.dlq import options
from todoctl.core.dlq.filters import Filter
from todoctl.core.events import DEAD_LETTERS
from todoctl.errors import RefusedError, UsageError
from todoctl.operations.dlq import deciding
from todoctl.screen import Output


def park(
    ctx: typer.Context,
    names: options.LETTERS = None,
    where: options.WHERE = None,
    since: options.SINCE = None,
    until: options.UNTIL = None,
    state: options.STATE = "pending",
    take_over: options.TAKE_OVER = False,
    yes: options.YES = False,
    topic: options.TOPIC = DEAD_LETTERS,
    output: options.OUTPUT = Output.table,
) -> None:
    """Put letters aside: lists and plans leave them out until `--state parked` asks for them."""
    wanted = _chosen(names, where, since, until, state)
    at = options.at(ctx, topic)
    screen.confirm(f"park {deciding.count(at.desk, wanted)} letters?", yes=yes)
    done = deciding.park(at.desk, wanted, options.operator("park"), clock=options.now, take_over=take_over)
    screen.show({"parked": done.letters}, output, lambda: screen.write(f"parked: {done.letters}"))


def purge(
    ctx: typer.Context,
    names: options.LETTERS = None,
    where: options.WHERE = None,
    since: options.SINCE = None,
    until: options.UNTIL = None,
    state: options.STATE = "pending",
    archive: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where they are kept; a file below the state folder by default.")
    ] = None,
    take_over: options.TAKE_OVER = False,
    yes: options.YES = False,
    topic: options.TOPIC = DEAD_LETTERS,
    output: options.OUTPUT = Output.table,
) -> None:
    """Archive letters with all their bytes, then make them go: nothing shows them any more.

    Kafka deletes from the beginning of a partition only: a purged letter behind one that stays is hidden at once and
    deleted by a later purge, or by the topic's retention. Nothing is purged where an archive could not keep a letter as
    it is: one of its headers has a name that is not UTF-8. Park it, and purge the others.
    """
    wanted = _chosen(names, where, since, until, state)
    at = options.at(ctx, topic)
    path = archive or deciding.archive_path(options.archive_folder(at.settings), at.desk, options.now)
    if not (there := next(folder for folder in path.absolute().parents if folder.exists())).is_dir():
        raise UsageError(f"--archive: {there} is no folder")
    screen.confirm(f"archive {deciding.count(at.desk, wanted)} letters to {path} and purge them?", yes=yes)
    if path.exists():
        raise RefusedError(f"{path} is there already", hint="say another file with --archive")
    done = deciding.purge(at.desk, wanted, path, options.operator("purge"), clock=options.now, take_over=take_over)
    shown = {"purged": done.letters, "deleted_offsets": done.deleted, "archive": done.archive and str(done.archive)}
    screen.show(
        shown, output, lambda: screen.pairs({name: "-" if value is None else value for name, value in shown.items()})
    )
    if not done.letters:
        said = "no such letter: there is nothing to archive; todoctl dlq list shows what there is"
        screen.note(context.aimed(ctx, said))


def _chosen(names: Any, where: Any, since: Any, until: Any, state: str) -> Filter:
    wanted = options.read_filter(names, where, since, until, state)
    if options.is_everything(wanted):
        raise UsageError("say which letters: by name, --where, --since or --until; --where error='*' means all")
    return wanted
