"""Executing a plan: exactly its letters, each re-published together with its decision in one Kafka transaction."""

from __future__ import annotations

import os
import stat
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import BinaryIO, cast

from todoctl.adapters.collector import uncollected
from todoctl.core.dlq.decisions import State
from todoctl.core.dlq.filters import read_name
from todoctl.core.dlq.plan import Act, PlanHeader, check_fits, lines_digest, read_header
from todoctl.core.dlq.plan_line import AGAIN, Cover, Park, Piece, Replay, pieces
from todoctl.errors import RefusedError, TodoctlError, UsageError
from todoctl.operations.dlq.batches import Batch, batches
from todoctl.operations.dlq.desk import Desk, read_ledger
from todoctl.operations.dlq.holding import BATCH, Holder
from todoctl.operations.dlq.planned import with_letters

_UnderWay = tuple[Batch, Future[None]]


@dataclass
class Progress:
    """What a replay has done: letters by what was done with them, of `total` that are to be decided.

    `decided` letters had been decided before, by an earlier run of this plan or otherwise; `bytes` were published.
    """

    total: int
    replayed: int = 0
    covered: int = 0
    parked: int = 0
    decided: int = 0
    orphaned: int = 0
    bytes: int = 0
    seconds: float = 0.0

    @property
    def done(self) -> int:
        """Letters that need nothing more."""
        return self.replayed + self.covered + self.parked + self.decided + self.orphaned

    @property
    def rate(self) -> float:
        """Letters per second."""
        return (self.done - self.decided) / self.seconds if self.seconds else 0.0

    @property
    def seconds_left(self) -> float | None:
        """At this rate; None while there is none."""
        return (self.total - self.done) / self.rate if self.rate else None


def open_plan(path: Path, *, takes_changed: bool) -> PlanHeader:
    """The header of a plan file whose lines are as they were written; of changed lines it tells their own counts.

    Raises:
        UsageError: there is no such plan.
        RefusedError: a line was changed, added or cut since, the header's too.
    """
    try:
        with path.open("rb") as stream:
            if not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
                # It is read several times, and a pipe has nothing left the second time.
                raise UsageError(f"the plan {path} is no regular file", hint="save it as a file first")
            header = read_header(stream.readline())
            first_line = stream.tell()
            found = lines_digest(stream)
            is_changed = header.seal(found) != header.digest
            if is_changed and takes_changed:
                stream.seek(first_line)
                header = header.model_copy(update={"counts": _counted(stream)})
    except OSError as error:
        raise UsageError(f"the plan {path} can't be read: {error.strerror}", hint="todoctl dlq plan") from error
    if is_changed and not takes_changed:
        raise RefusedError(
            f"the plan {path} was changed after it was made",
            hint="review it; then add --accept-changes, or make a new one: todoctl dlq plan",
        )
    return header


def _counted(lines: BinaryIO) -> dict[Act, int]:
    """What the lines ask for; those that skip a letter are not counted any more."""
    kinds = Counter(type(line) for piece in pieces(lines) for line in piece.lines)
    return {"replay": kinds[Replay], "cover": kinds[Cover], "park": kinds[Park], "skip": 0}


def check_plan(desk: Desk, header: PlanHeader) -> None:
    """Return when the plan fits the cluster as it is now.

    Raises:
        RefusedError: with what differs.
    """
    if header.topic != desk.topic:
        hint = f"todoctl dlq replay --topic {header.topic} --plan …"
        raise RefusedError(f"the plan is for the letters of {header.topic}, not of {desk.topic}", hint=hint)
    partitions = {name: desk.values.topics[name].partitions for name in header.targets if name in desk.values.topics}
    if foreign := set(header.targets) - set(partitions):
        raise RefusedError(f"the platform does not own: {', '.join(sorted(foreign))}", hint="todoctl topics list")
    check_fits(header, cluster=desk.cluster, topic_ids=desk.topic_ids)


def count_left(desk: Desk, header: PlanHeader, path: Path) -> int:
    """How many letters of the plan are still to be re-published or parked."""
    ledger, states = read_ledger(desk), frozenset(header.states)
    with path.open("rb") as stream:
        stream.readline()
        return sum(
            ledger.state(piece.partition, offset) in states for piece in pieces(stream) for offset in piece.offsets
        )


def replay(
    holder: Holder,
    header: PlanHeader,
    path: Path,
    *,
    rate: float | None = None,
    first: int | None = None,
    batch: int = BATCH,
) -> Iterator[Progress]:
    """Do what the plan says with every letter that is still as it was reviewed; yields after each transaction.

    `rate` is in letters per second; a transaction has up to `batch` letters, the first one `first`. Run
    again after any end it goes on with what is still pending.

    Raises:
        RefusedError: a letter is gone, or not the one that was reviewed; nothing of its batch was done.
    """
    progress = Progress(sum(count for act, count in header.counts.items() if act != "skip"))
    began = time.monotonic()
    size = batch if rate is None else max(1, min(batch, int(rate)))
    with uncollected(), path.open("rb") as stream:
        stream.readline()
        parts = with_letters(holder.desk, _undecided(holder, header, stream, progress))
        for ready in _committed(holder, batches(holder.decision, header.id, parts, size=size, first=first or size)):
            progress.replayed += ready.replayed
            progress.covered += ready.covered
            progress.parked += ready.parked
            progress.bytes += ready.bytes
            progress.seconds = time.monotonic() - began
            yield progress
            if rate is not None:
                time.sleep(max(0.0, began + (progress.done - progress.decided) / rate - time.monotonic()))
    progress.seconds = time.monotonic() - began
    yield progress


def _committed(holder: Holder, steps: Iterable[Batch]) -> Iterator[Batch]:
    """Each batch when it is committed.

    Meanwhile the next one is prepared. It is begun when the caller asks for it, and sent as it becomes ready.
    """
    before: _UnderWay | None = None  # whole, and committed in the background
    begun: _UnderWay | None = None  # some of it is sent
    stop: TodoctlError | None = None
    batch: Batch | None = None
    with ThreadPoolExecutor(max_workers=1) as worker:
        try:
            for batch in steps:
                if begun is None:
                    if before and not (batch.is_whole or before[1].done()):
                        continue
                    yield from _settled(before)
                    before, begun = None, (batch, worker.submit(holder.commit, batch.decided, batch.pieces()))
                if batch.is_whole:
                    before, begun = begun, None
                elif begun[1].done():
                    begun[1].result()  # it failed
        except TodoctlError as error:
            # What stops the next batch is said after what became of this one.
            stop = error
        finally:
            if batch:
                # Nobody may wait for its rest; of one that is whole this isn't heard.
                batch.give_up()
        yield from _settled(before)
    if stop:
        raise stop


def _settled(under_way: _UnderWay | None) -> Iterator[Batch]:
    if under_way:
        batch, commit = under_way
        commit.result()
        yield batch


def _undecided(holder: Holder, header: PlanHeader, stream: BinaryIO, progress: Progress) -> Iterator[Piece]:
    """The lines that are still to be done, in the plan's order.

    That they are is noted at once: what is prepared next, or a second line about the same letter, must see it. Without
    the commit all ends.
    """
    states, targets = frozenset(header.states), set[tuple[str, int | None]]()
    for piece in pieces(stream):
        wanted: list[bool] = []
        for kind, lines in groupby(piece.lines, type):
            run = list(lines)
            offsets = piece.offsets[len(wanted) : len(wanted) + len(run)]
            if kind is Cover:
                wanted += _uncovered(holder, cast(list[Cover], run), piece.partition, offsets, states, progress)
                continue
            if kind is Replay:
                _check_targets(header, cast(list[Replay], run), targets)
            claimed = holder.ledger.claim(piece.partition, offsets, states, "parked" if kind is Park else "replayed")
            progress.decided += claimed.count(False)
            wanted += claimed
        if any(wanted):
            yield piece if all(wanted) else piece.only(wanted)


def _check_targets(header: PlanHeader, lines: list[Replay], known: set[tuple[str, int | None]]) -> None:
    """Return when the header has every place that the lines' records go to; `known` are those that it has."""
    for topic, to in {(line.topic, line.partition) for line in lines} - known:
        target = header.targets.get(topic)
        if target is None or (to is not None and to >= target.partitions):
            name = next(line.letter for line in lines if (line.topic, line.partition) == (topic, to))
            raise UsageError(f"the plan's header knows no place {topic}/{to} for {name}", hint=AGAIN)
        known.add((topic, to))


def _uncovered(
    holder: Holder,
    lines: list[Cover],
    partition: int,
    offsets: Sequence[int],
    states: frozenset[State],
    progress: Progress,
) -> list[bool]:
    """Which of the letters are to be decided with another one, whose line may have been cut."""
    wanted = []
    for line, offset in zip(lines, offsets, strict=True):
        other = read_name(line.same_as)
        if other is not None and holder.ledger.state(*other) == "replayed":
            (is_wanted,) = holder.ledger.claim(partition, [offset], states, "replayed")
            progress.decided += not is_wanted
        else:
            is_wanted, is_pending = False, holder.ledger.state(partition, offset) in states
            progress.orphaned += is_pending
            progress.decided += not is_pending
        wanted.append(is_wanted)
    return wanted
