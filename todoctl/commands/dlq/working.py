"""`todoctl dlq plan` and `replay`."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from todoctl import screen
from todoctl.commands import context, timeouts
from todoctl.commands.dlq import options
from todoctl.commands.dlq.editing import ByHand
from todoctl.commands.dlq.outcome import execute
from todoctl.core.dlq import edits
from todoctl.core.dlq.decisions import Operator
from todoctl.core.dlq.filters import Filter
from todoctl.core.dlq.plan import PlanHeader
from todoctl.core.dlq.planning import Edit
from todoctl.core.events import DEAD_LETTERS
from todoctl.errors import RefusedError, UsageError
from todoctl.operations.dlq import deciding, running
from todoctl.operations.dlq.holding import BATCH
from todoctl.operations.dlq.planning import PlanRequest, make_plan
from todoctl.operations.dlq.replaying import check_plan, count_left, open_plan
from todoctl.screen import Output

_DIFFS = 3  # edits shown as a diff; the plan has them all
_FASTEST = 1e9  # letters a second: infinity is no number to reckon with
_EDITS = 20  # letters that one edits by hand

_MAX_RETURNS = Annotated[
    int, typer.Option("--max-returns", metavar="N", min=1, help="Park a letter that came back N times.")
]
_JQ = Annotated[
    str | None,
    typer.Option(
        "--jq",
        metavar="EXPR",
        help="Edit each record with a jq expression, such as '.data.payload.task.title |= .[:200]'.",
    ),
]
_EDIT = Annotated[
    bool, typer.Option("--edit", help="Edit each record in $EDITOR until it fits; at most 20. What was typed is kept.")
]
_INVALID = Annotated[
    bool, typer.Option("--invalid", help="Also records that the consumers' model refuses, and that will die again.")
]


def plan(
    ctx: typer.Context,
    names: options.LETTERS = None,
    where: options.WHERE = None,
    since: options.SINCE = None,
    until: options.UNTIL = None,
    state: options.STATE = "pending",
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Where to write it.")] = None,
    jq: _JQ = None,
    edit: _EDIT = False,
    max_returns: _MAX_RETURNS = 3,
    invalid: _INVALID = False,
    topic: options.TOPIC = DEAD_LETTERS,
    output: options.OUTPUT = Output.table,
) -> None:
    """Write a plan file: which letters are re-published where, which are not and why, and what that may reorder.

    The file is JSON Lines: a header, then a line for each letter. Review it, cut lines that you don't want, then
    replay it. Edited records must fit the consumers' model and keep their event id.
    """
    wanted = options.read_filter(names, where, since, until, state)
    at = options.at(ctx, topic)
    path = out or Path(f"dlq-plan-{options.now():%Y%m%dT%H%M%S}.jsonl")
    if path.exists():
        raise RefusedError(f"{path} is there already", hint="say another file with --out")
    if not path.parent.is_dir():
        raise UsageError(f"there is no folder {path.parent} to write the plan to")
    by_hand = ByHand(at.settings.state / "drafts", os.environ, to_ask=screen.is_answered()) if edit else None
    header = _make(
        at, wanted, path, options.operator("plan"), jq=jq, by_hand=by_hand, max_returns=max_returns, invalid=invalid
    )
    shown = {**header.model_dump(mode="json"), "path": str(path)}
    screen.show(shown, output, lambda: _write_plan(header))
    screen.ok(f"plan {header.id} is written to {path}")
    screen.note(context.aimed(ctx, f"next: todoctl dlq replay --plan {shlex.quote(str(path))}"))
    if by_hand:
        by_hand.end()


def replay(
    ctx: typer.Context,
    names: options.LETTERS = None,
    file: Annotated[
        Path | None, typer.Option("--plan", metavar="FILE", help="A plan; without it one is made of the filters.")
    ] = None,
    where: options.WHERE = None,
    since: options.SINCE = None,
    until: options.UNTIL = None,
    state: options.STATE = "pending",
    jq: _JQ = None,
    max_returns: _MAX_RETURNS = 3,
    invalid: _INVALID = False,
    rate: Annotated[
        float | None, typer.Option(metavar="N", min=0.1, max=_FASTEST, help="At most N letters a second.")
    ] = None,
    batch: Annotated[
        int, typer.Option(metavar="N", min=1, max=50_000, help="Letters in a transaction; fewer are slower.")
    ] = BATCH,
    trial: Annotated[
        int, typer.Option(metavar="N", min=0, help="Of many letters N first, and see what the consumers do.")
    ] = 100,
    stop_at: Annotated[
        float, typer.Option("--stop-at", metavar="PERCENT", min=0, max=100, help="Stop when more than this die again.")
    ] = 20,
    wait: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", min=0, max=timeouts.LONGEST, help="Wait so long for the consumers; 0 reports nothing."
        ),
    ] = 30,
    accept_changes: Annotated[bool, typer.Option("--accept-changes", help="Take a plan that was edited.")] = False,
    take_over: options.TAKE_OVER = False,
    yes: options.YES = False,
    topic: options.TOPIC = DEAD_LETTERS,
    output: options.OUTPUT = Output.table,
) -> None:
    """Re-publish exactly the letters of a plan, then tell what each consumer did with each of them.

    Re-published exactly once, applied effectively once: each record goes out with the same key, event id, headers and
    bytes, to the partition where it lay, in one Kafka transaction with the decision about its letter. Killed at any
    point, the same command goes on. Sidecars of Dapr read records of aborted transactions too; consumers know an event
    by its id, so that changes nothing. All consumers of a topic see its records again: a replay for one consumer alone
    can't be on a shared topic.

    Exit codes: 0 all processed, 5 some died again, 6 some unknown or still pending, 8 another operator is at work.
    """
    wanted = options.read_filter(names, where, since, until, state)
    if file and not (options.is_everything(wanted) and state == "pending" and not jq and not invalid):
        raise UsageError("a plan says which letters: give either --plan or filters and edits")
    at = options.at(ctx, topic)
    me = options.operator("plan")
    # The session tells two operators of the same second apart: neither may find the other's letters in its plan.
    path = file or at.settings.state / "plans" / f"dlq-{options.now():%Y%m%dT%H%M%S}-{me.session[:8]}.jsonl"
    if not file:
        path.parent.mkdir(parents=True, exist_ok=True)
        _make(at, wanted, path, me, jq=jq, by_hand=None, max_returns=max_returns, invalid=invalid)
    header = open_plan(path, takes_changed=accept_changes)
    check_plan(at.desk, header)
    _say_plan(header, path)
    if left := count_left(at.desk, header, path):
        screen.confirm(
            f"re-publish or park {left} letters; records go to {', '.join(header.targets) or 'no topic'}?", yes=yes
        )
    request = running.ReplayRequest(
        header,
        path,
        at.consumers,
        rate=rate,
        batch=batch,
        trial=trial,
        stop_at=stop_at / 100,
        seconds=wait,
        take_over=take_over,
    )
    execute(at, request, output)


def _make(
    at: options.At,
    wanted: Filter,
    path: Path,
    me: Operator,
    *,
    jq: str | None,
    by_hand: ByHand | None,
    max_returns: int,
    invalid: bool,
) -> PlanHeader:
    if jq and by_hand:
        raise UsageError("edit either by --jq or by --edit")
    if by_hand and (count := deciding.count(at.desk, wanted)) > _EDITS:
        raise UsageError(f"{count} letters are too many to edit by hand", hint="todoctl dlq plan --jq EXPR")
    request = PlanRequest(
        wanted=wanted,
        path=path,
        environment=at.settings.name,
        max_returns=max_returns,
        consumers={topic: tuple(found) for topic, found in at.consumers.items()},
        edit=_edit(jq, by_hand),
        edit_text=jq or ("by hand" if by_hand else None),
        takes_invalid=invalid,
    )
    made = make_plan(at.desk, request, me)
    return _narrated(made, by_hand, say_differences=bool(jq or by_hand))


def _narrated(made: Iterator[Any], by_hand: ByHand | None, *, say_differences: bool) -> PlanHeader:
    diffs = 0
    for item in made:
        if by_hand and not isinstance(item, PlanHeader):
            by_hand.keep(item)
        if isinstance(item, PlanHeader):
            if diffs > _DIFFS:
                screen.note(f"{diffs - _DIFFS} more edits are in the plan")
            return item
        if say_differences and item.is_edited:
            diffs += 1
            if diffs <= _DIFFS:
                for line in edits.difference(item.name, item.before, item.value):
                    screen.note(line)
    raise AssertionError("a plan ends with its header")


def _edit(jq: str | None, by_hand: ByHand | None) -> Edit | None:
    if jq:
        from todoctl.adapters.jq import editor

        edit = editor(jq)
        return lambda _, value: edit(value)
    return by_hand.edit if by_hand else None


def _write_plan(header: PlanHeader) -> None:
    columns = ("DO", "LETTERS", "WHY OR WHERE")
    where = ", ".join(f"{name} (seen by {', '.join(target.consumers)})" for name, target in header.targets.items())
    rows: list[tuple[object, ...]] = [("replay", header.counts["replay"], where)]
    if header.counts["cover"]:
        rows.append(("cover", header.counts["cover"], "the same record is re-published for another letter"))
    rows += [("park" if why == "came back" else "skip", count, why) for why, count in header.because.items()]
    screen.table(columns, rows)
    for risk in header.risks:
        screen.write(f"risk: {risk}")


def _say_plan(header: PlanHeader, path: Path) -> None:
    counts = ", ".join(f"{count} {act}" for act, count in header.counts.items() if count) or "nothing to do"
    screen.note(f"plan {header.id} by {header.made_by} at {header.made_at}: {counts} ({path})")
    for risk in header.risks:
        screen.note(f"risk: {risk}")
