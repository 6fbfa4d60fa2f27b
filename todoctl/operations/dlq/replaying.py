"""Executing a plan: exactly its letters, each re-published together with its decision in one Kafka transaction."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from todoctl.adapters.collector import uncollected
from todoctl.core.dlq.filters import read_name
from todoctl.core.dlq.plan import Entry, PlanHeader, check_fits, entries, lines_digest, read_header
from todoctl.errors import RefusedError, TodoctlError, UsageError
from todoctl.operations.dlq.batches import Batch, batches
from todoctl.operations.dlq.desk import Desk, read_ledger
from todoctl.operations.dlq.holding import BATCH, Holder
from todoctl.operations.dlq.planned import AGAIN, with_letters

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
    """The header of a plan file whose lines are as they were written.

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
            found = lines_digest(stream)
    except OSError as error:
        raise UsageError(f"the plan {path} can't be read: {error.strerror}", hint="todoctl dlq plan") from error
    if header.seal(found) != header.digest and not takes_changed:
        raise RefusedError(
            f"the plan {path} was changed after it was made",
            hint="review it; then add --accept-changes, or make a new one: todoctl dlq plan",
        )
    return header


def check_plan(desk: Desk, header: PlanHeader) -> None:
    """Return when the plan fits the cluster as it is now.

    Raises:
        RefusedError: with what differs.
    """
    partitions = {name: desk.values.topics[name].partitions for name in header.targets if name in desk.values.topics}
    if foreign := set(header.targets) - set(partitions):
        raise RefusedError(f"the platform does not own: {', '.join(sorted(foreign))}", hint="todoctl topics list")
    check_fits(header, cluster=desk.cluster, topic_ids=desk.topic_ids)


def count_left(desk: Desk, header: PlanHeader, path: Path) -> int:
    """How many letters of the plan are still to be re-published or parked."""
    state, states = read_ledger(desk).state, frozenset(header.states)
    with path.open("rb") as stream:
        stream.readline()
        wanted = (entry for entry in entries(stream) if entry.act != "skip")
        return sum(state(entry.partition, entry.offset) in states for entry in wanted)


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
        pairs = with_letters(holder.desk, _undecided(holder, header, stream, progress))
        for ready in _committed(holder, batches(holder.decision, header.id, pairs, size=size, first=first or size)):
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
                    before, begun = None, (batch, worker.submit(holder.commit, batch.decided, batch.sends()))
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


def _undecided(holder: Holder, header: PlanHeader, lines: Iterable[bytes], progress: Progress) -> Iterator[Entry]:
    """The entries that are still to be done, in the plan's order.

    That they are is noted at once: what is prepared next, or a second line about the same letter, must see it. Without
    the commit all ends.
    """
    claim, states = holder.ledger.claim, frozenset(header.states)
    targets: set[tuple[str | None, int | None]] = set()
    for entry in entries(lines):
        act = entry.act
        if act == "skip":
            continue
        if act == "replay" and (target := (entry.topic, entry.to)) not in targets:
            if not _is_target(header, entry):
                place = f"{entry.topic}/{entry.to}"
                raise UsageError(f"the plan's header knows no place {place} for {entry.name}", hint=AGAIN)
            targets.add(target)
        if act == "cover" and not _is_sent(holder, entry):
            if holder.ledger.state(entry.partition, entry.offset) in states:
                progress.orphaned += 1
            else:
                progress.decided += 1
        elif claim(entry.partition, entry.offset, states, "parked" if act == "park" else "replayed"):
            yield entry
        else:
            progress.decided += 1


def _is_target(header: PlanHeader, entry: Entry) -> bool:
    target = header.targets.get(entry.topic or "")
    return target is not None and (entry.to is None or entry.to < target.partitions)


def _is_sent(holder: Holder, entry: Entry) -> bool:
    """Whether the record that this letter shares with another one was re-published: its line may have been cut."""
    place = read_name(entry.same_as or "")
    return place is not None and holder.ledger.state(*place) == "replayed"
