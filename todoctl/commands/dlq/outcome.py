"""A replay on the screen: its progress, then what each consumer did with each letter, and the exit code that follows."""

from __future__ import annotations

import shlex
import time
from dataclasses import replace
from typing import Any

from todoctl import screen
from todoctl.commands.dlq import options
from todoctl.core.dlq.outcomes import VERDICTS, Outcomes
from todoctl.errors import PartialError, VerdictError
from todoctl.operations.dlq import running
from todoctl.operations.dlq.replaying import Progress
from todoctl.screen import Output

_SHOWN = 20  # letters shown that were not processed


def execute(at: options.At, request: running.ReplayRequest, output: Output) -> None:
    """Replay, and tell what came of it.

    Raises:
        VerdictError: letters died again. PartialError: of some nobody knows yet, or some are still pending.
    """
    header, progress = request.header, Progress(0)
    began = time.monotonic()
    with screen.board() as board:
        for step in running.run(at.desk, request, options.operator("replay", header.id), clock=options.now):
            elapsed = time.monotonic() - began
            if isinstance(step, Progress):
                progress = replace(step)
                board.update("replay", "working", _told(step), elapsed)
            else:
                board.update("consumers", "working", f"{step.consumers} still have letters before them", elapsed)
        board.update("replay", "ready", _told(progress), time.monotonic() - began)
    rows: list[dict[str, Any]] = []
    outcomes = _judged(at, request, rows, output) if request.seconds else None
    _show_outcome(request, progress, outcomes, rows, output)


def _judged(at: options.At, request: running.ReplayRequest, rows: list[dict[str, Any]], output: Output) -> Outcomes:
    began = time.monotonic()
    with screen.board() as board:
        for step in running.report(at.desk, request):
            if isinstance(step, running.Waiting):
                detail = f"{step.consumers} still have letters before them"
                board.update("consumers", "working", detail, time.monotonic() - began)
            elif isinstance(step, running.Judged):
                _take(step, rows, output)
            else:
                return step
    raise AssertionError("a report ends with its sum")


def _take(step: running.Judged, rows: list[dict[str, Any]], output: Output) -> None:
    """Keep a letter's verdicts: for a person only where something is left to see."""
    is_fine = bool(step.verdicts) and set(step.verdicts.values()) == {"processed"}
    if output is Output.table and (is_fine or len(rows) >= _SHOWN):
        return
    partition, offset = step.record.letter
    topic, at_partition, at_offset = step.record.spot
    row = {
        "letter": f"{partition}/{offset}",
        "topic": topic,
        "partition": at_partition,
        "offset": at_offset,
        "consumers": step.verdicts,
    }
    if output is Output.jsonl:
        screen.show(row, output, lambda: None)
    else:
        rows.append(row)


def _show_outcome(
    request: running.ReplayRequest,
    progress: Progress,
    outcomes: Outcomes | None,
    rows: list[dict[str, Any]],
    output: Output,
) -> None:
    counts = {name: dict(found) for name, found in outcomes.counts.items()} if outcomes else {}
    done = {
        "plan": request.header.id,
        "replayed": progress.replayed,
        "covered": progress.covered,
        "parked": progress.parked,
        "decided_before": progress.decided,
        "still_pending": progress.orphaned,
        "seconds": round(progress.seconds, 3),
    }
    whole = {**done, "republished": outcomes.records if outcomes else None, "consumers": counts}
    letters = {} if output is Output.jsonl else {"letters": rows}
    screen.show(whole | letters, output, lambda: _write_outcome(done, counts, rows))
    if outcomes is None:
        return
    if outcomes.died:
        raise VerdictError(f"{outcomes.died} times a letter died again", hint="todoctl dlq list")
    if outcomes.unknown or progress.orphaned:
        raise PartialError(
            f"of {outcomes.unknown} deliveries nobody knows yet whether they were processed",
            # Without --plan the same command would make another plan, of which these letters are no part.
            hint=f"todoctl status, then todoctl dlq replay --plan {shlex.quote(str(request.path))}: "
            "it only looks, nothing is published twice",
        )


def _write_outcome(done: dict[str, Any], counts: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    screen.pairs(done)
    if counts:
        screen.table(
            ("CONSUMER", *(word.upper() for word in VERDICTS)),
            [(name, *(found.get(word, 0) for word in VERDICTS)) for name, found in counts.items()],
        )
    for row in rows:
        verdicts = ", ".join(f"{name}: {verdict}" for name, verdict in row["consumers"].items()) or "no consumer known"
        screen.write(f"{row['letter']} at {row['topic']}/{row['partition']}/{row['offset']}: {verdicts}")


def _told(progress: Progress) -> str:
    left = progress.seconds_left
    remaining = "" if left is None else f", {left:.0f} s left"
    before = f", {progress.decided:,} decided before" if progress.decided else ""
    return f"{progress.done:,} of {progress.total:,} letters, {progress.rate:,.0f}/s{remaining}{before}"
