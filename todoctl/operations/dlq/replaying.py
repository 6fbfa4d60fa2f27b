"""Executing a plan: exactly its letters, each re-published together with its decision in one Kafka transaction."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from todoctl.adapters.collector import uncollected
from todoctl.adapters.kafka.reader import Reader
from todoctl.core.dlq.decisions import Decision, State
from todoctl.core.dlq.filters import read_name
from todoctl.core.dlq.letters import digest, mark, wrapped_value
from todoctl.core.dlq.plan import Entry, PlanHeader, check_fits, entries, lines_digest, read_header
from todoctl.errors import RefusedError, TodoctlError, UsageError
from todoctl.operations.dlq.desk import Desk, read_ledger
from todoctl.operations.dlq.holding import BATCH, Holder, Send

# What one transaction may hold in memory.
_BYTES = 32 * 2**20

# Reading past so many letters costs as much as opening another reader.
_GAP = 50_000

_AGAIN = "make a new one: todoctl dlq plan"


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


@dataclass
class _Batch:
    """What one transaction is to do; letters that are parked, or whose records go to one place, share a decision."""

    sends: list[Send] = field(default_factory=list)
    decided: list[tuple[int, int, Decision]] = field(default_factory=list)
    shared: dict[tuple[State, str | None, int | None, int], Decision] = field(default_factory=dict)
    covered: int = 0
    parked: int = 0
    bytes: int = 0


def open_plan(path: Path, *, takes_changed: bool) -> PlanHeader:
    """The header of a plan file whose lines are as they were written.

    Raises:
        UsageError: there is no such plan.
        RefusedError: a line was changed, added or cut since.
    """
    try:
        with path.open("rb") as stream:
            header = read_header(stream.readline())
            found = lines_digest(stream)
    except OSError as error:
        raise UsageError(f"the plan {path} can't be read: {error.strerror}", hint="todoctl dlq plan") from error
    if found != header.digest and not takes_changed:
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
        pairs = _with_letters(holder.desk, _undecided(holder, header, stream, progress))
        for ready in _committed(holder, _batches(holder, header.id, pairs, progress, size, first or size)):
            progress.replayed += len(ready.sends)
            progress.covered += ready.covered
            progress.parked += ready.parked
            progress.bytes += ready.bytes
            progress.seconds = time.monotonic() - began
            yield progress
            if rate is not None:
                time.sleep(max(0.0, began + (progress.done - progress.decided) / rate - time.monotonic()))
    progress.seconds = time.monotonic() - began
    yield progress


def _committed(holder: Holder, batches: Iterable[_Batch]) -> Iterator[_Batch]:
    """Each batch when it is committed. Meanwhile the next one is prepared; it is begun when the caller asks for it."""
    under_way: list[tuple[_Batch, Future[None]]] = []  # one at most
    stop: TodoctlError | None = None
    with ThreadPoolExecutor(max_workers=1) as worker:
        try:
            for batch in batches:
                yield from _settled(under_way)
                under_way.append((batch, worker.submit(holder.commit, batch.decided, batch.sends)))
        except TodoctlError as error:
            # What stops the next batch is said after what became of this one.
            stop = error
        yield from _settled(under_way)
    if stop:
        raise stop


def _settled(under_way: list[tuple[_Batch, Future[None]]]) -> Iterator[_Batch]:
    while under_way:
        batch, commit = under_way.pop()
        commit.result()
        yield batch


def _undecided(holder: Holder, header: PlanHeader, lines: Iterable[bytes], progress: Progress) -> Iterator[Entry]:
    """The entries that are still to be done, in the plan's order."""
    state, states = holder.ledger.state, frozenset(header.states)
    for entry in entries(lines):
        if entry.act == "skip":
            continue
        if entry.act == "replay" and not _is_target(header, entry):
            raise UsageError(f"the plan's header knows no place {entry.topic}/{entry.to} for {entry.name}", hint=_AGAIN)
        if state(entry.partition, entry.offset) in states:
            yield entry
        else:
            progress.decided += 1


def _is_target(header: PlanHeader, entry: Entry) -> bool:
    target = header.targets.get(entry.topic or "")
    return target is not None and (entry.to is None or entry.to < target.partitions)


def _batches(
    holder: Holder, plan: str, pairs: Iterable[tuple[Entry, Any]], progress: Progress, size: int, first: int
) -> Iterator[_Batch]:
    batch = _Batch()
    for entry, message in pairs:
        key, value, headers = message.key(), message.value(), message.headers() or ()
        if entry.digest != digest(key, value, headers):
            raise RefusedError(f"the letter {entry.name} is not the one that was reviewed", hint=_AGAIN)
        if entry.act == "replay":
            _add_replay(holder, plan, batch, entry, value)
        elif entry.act == "cover" and not _is_sent(holder, entry):
            progress.orphaned += 1
        else:
            _add_decision(holder, batch, entry)
        if len(batch.decided) >= first or batch.bytes >= _BYTES:
            yield batch
            batch, first = _Batch(), size
    if batch.decided:
        yield batch


def _add_replay(holder: Holder, plan: str, batch: _Batch, entry: Entry, value: bytes | None) -> None:
    if entry.has_value:
        value = entry.value
    elif entry.is_wrapped:
        value = wrapped_value(value)
    headers = [*entry.headers, mark(plan, entry.partition, entry.offset, entry.count)]
    batch.sends.append((entry.topic or "", value, entry.key, -1 if entry.to is None else entry.to, headers))
    batch.bytes += len(value or b"")
    _decide(holder, batch, entry, _shared(holder, batch, "replayed", entry.topic, entry.to, entry.count))


def _add_decision(holder: Holder, batch: _Batch, entry: Entry) -> None:
    is_park = entry.act == "park"
    decision = _shared(holder, batch, "parked") if is_park else _shared(holder, batch, "replayed", entry.topic)
    batch.parked += is_park
    batch.covered += not is_park
    _decide(holder, batch, entry, decision)


def _decide(holder: Holder, batch: _Batch, entry: Entry, decision: Decision) -> None:
    batch.decided.append((entry.partition, entry.offset, decision))
    # At once: what is prepared next, or a second line about this letter, must see it. Without the commit all ends.
    holder.ledger.set(entry.partition, entry.offset, decision.action)


def _shared(
    holder: Holder, batch: _Batch, action: State, topic: str | None = None, to: int | None = None, count: int = 0
) -> Decision:
    what = (action, topic, to, count)
    if (found := batch.shared.get(what)) is None:
        found = replace(holder.decision(action), topic=topic, partition=to, count=count)
        batch.shared[what] = found
    return found


def _is_sent(holder: Holder, entry: Entry) -> bool:
    """Whether the record that this letter shares with another one was re-published: its line may have been cut."""
    place = read_name(entry.same_as or "")
    return place is not None and holder.ledger.state(*place) == "replayed"


def _with_letters(desk: Desk, wanted: Iterable[Entry]) -> Iterator[tuple[Entry, Any]]:
    """Each entry with its letter as librdkafka's message, read in one go as far as they lie close together."""
    partition, position = -1, 0
    source: Iterator[Any] = iter(())
    with ExitStack() as opened:
        for entry in wanted:
            if entry.partition != partition or not 0 <= entry.offset - position < _GAP:
                opened.close()
                source = _messages(desk, entry.partition, entry.offset, opened)
            for message in source:
                if (found := message.offset()) >= entry.offset:
                    break
            else:
                found = -1
            if found != entry.offset:
                raise RefusedError(f"the plan no longer fits: the letter {entry.name} is gone", hint=_AGAIN)
            partition, position = entry.partition, entry.offset + 1
            yield entry, message


def _messages(desk: Desk, partition: int, offset: int, opened: ExitStack) -> Iterator[Any]:
    place = (desk.topic, partition)
    start, end = desk.ranges.get(place, (0, 0))
    if not start <= offset < end:
        return
    reader = opened.enter_context(Reader(desk.broker, {place: offset}, {place: end}))
    for batch in reader.batches():
        yield from batch
