"""A whole replay: hold the letters, try a few first, go on while they don't die again, and report what came of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from todoctl.core.dlq.decisions import Operator
from todoctl.core.dlq.outcomes import Outcomes, Republished, Verdict
from todoctl.core.dlq.plan import PlanHeader
from todoctl.errors import VerdictError
from todoctl.operations.dlq.desk import Desk
from todoctl.operations.dlq.holding import BATCH, Clock, holding
from todoctl.operations.dlq.replaying import Progress, replay
from todoctl.operations.dlq.watching import Consumers, Watch, committed, find_marks, judge, wait_passed

# Fewer than so many letters are their own trial.
_TRIAL_FROM = 500


@dataclass(frozen=True)
class ReplayRequest:
    """What is replayed and how.

    `rate` in letters per second, up to `batch` of them in a transaction, `trial` of many first; it stops when more than
    the share `stop_at` (0 to 1) died again, and waits up to `seconds` for the consumers.
    """

    header: PlanHeader
    path: Path
    consumers: Consumers
    rate: float | None = None
    batch: int = BATCH
    trial: int = 100
    stop_at: float = 0.2
    seconds: float = 30.0
    take_over: bool = False


@dataclass(frozen=True)
class Waiting:
    """The replay waits for consumers that still have records of it before them."""

    consumers: int


@dataclass(frozen=True)
class Judged:
    """What each consumer did with one re-published letter."""

    record: Republished
    verdicts: dict[str, Verdict]


def run(desk: Desk, request: ReplayRequest, me: Operator, *, clock: Clock) -> Iterator[Progress | Waiting]:
    """Re-publish what the plan says; yields progress, and what is waited for.

    Raises:
        VerdictError: more than `stop_at` of the letters died again; the rest stays pending.
        RefusedError, PartialError: as `holding` and `replay` say.
    """
    watch = Watch(desk, request.header)
    with holding(desk, me, clock=clock, take_over=request.take_over) as holder:
        trial = _trial(request)
        steps = replay(holder, request.header, request.path, rate=request.rate, first=trial, batch=request.batch)
        for number, progress in enumerate(steps):
            yield progress
            if number == 0 and trial:
                yield from _wait(desk, request)
            _stop_when_dying(watch, request, progress)


def report(desk: Desk, request: ReplayRequest) -> Iterator[Waiting | Judged | Outcomes]:
    """What the consumers did with every record of the plan, as soon as they passed it or the time is over.

    Yields what is waited for, each verdict, and at last the sum.
    """
    marks = find_marks(desk, request.header)
    for behind in wait_passed(desk, request.header, request.consumers, marks.last, seconds=request.seconds):
        yield Waiting(behind)
    outcomes = judge(desk, request.header, request.consumers, Watch(desk, request.header))
    for record in marks:
        yield Judged(record, outcomes.judge(record))
    yield outcomes


def _trial(request: ReplayRequest) -> int | None:
    is_large = request.header.counts.get("replay", 0) >= max(_TRIAL_FROM, 2 * request.trial)
    return request.trial if request.trial and is_large else None


def _wait(desk: Desk, request: ReplayRequest) -> Iterator[Waiting]:
    """Wait until the consumers that work have taken the trial; one that never committed is not waited for."""
    seen = committed(desk, request.header, request.consumers)
    working = {name for name, offsets in seen.items() if any(offsets.values())}
    consumers = {
        topic: {name: group for name, group in found.items() if name in working}
        for topic, found in request.consumers.items()
    }
    last = find_marks(desk, request.header).last
    for behind in wait_passed(desk, request.header, consumers, last, seconds=request.seconds):
        yield Waiting(behind)


def _stop_when_dying(watch: Watch, request: ReplayRequest, progress: Progress) -> None:
    died = watch.look() if progress.replayed else 0
    if died and died > request.stop_at * progress.replayed:
        raise VerdictError(
            f"stopped: {died} of {progress.replayed} re-published letters died again; the rest stays pending",
            hint="todoctl dlq list, mend the consumer, then run the same command again",
        )
