"""Deciding about letters without re-publishing them: park them, or archive and purge them."""

from __future__ import annotations

import gzip
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic_core import to_json

from todoctl.adapters.kafka import records, topics
from todoctl.adapters.kafka.client import Place
from todoctl.adapters.kafka.records import Record
from todoctl.core.dlq.decisions import Ledger, Operator, State
from todoctl.core.dlq.filters import Filter
from todoctl.core.dlq.foreign import UNREADABLE
from todoctl.errors import RefusedError
from todoctl.operations.dlq.desk import Desk, every_record, letters, open_desk, read_ledger, refuse_made_anew
from todoctl.operations.dlq.files import new_file
from todoctl.operations.dlq.holding import BATCH, Clock, Holder, holding
from todoctl.operations.dlq.planning import chunks

_SHOWN = 20  # letters that a message names


@dataclass(frozen=True)
class Decided:
    """How many letters were decided about; of purged ones how many records were deleted, and where the archive is."""

    letters: int
    deleted: int = 0
    archive: Path | None = None


def count(desk: Desk, wanted: Filter) -> int:
    """How many letters the filter means now."""
    return sum(1 for _ in letters(desk, read_ledger(desk), wanted))


def park(desk: Desk, wanted: Filter, me: Operator, *, clock: Clock, take_over: bool = False) -> Decided:
    """Mark letters as nobody's business for now: lists and plans leave them out until they are asked for."""
    with holding(desk, me, clock=clock, take_over=take_over) as holder:
        return Decided(_decide(holder, wanted, "parked"))


def purge(desk: Desk, wanted: Filter, archive: Path, me: Operator, *, clock: Clock, take_over: bool = False) -> Decided:
    """Archive letters, then mark them as purged; where all letters before an offset are, delete their records too.

    Kafka deletes from the beginning of a partition only: a purged letter behind one that isn't stays where it is, and
    doesn't show. Where no letter is meant there is no archive.

    Raises:
        RefusedError: an archive can't keep a letter as it is, or the topic was made anew; see also `holding`.
    """
    with holding(desk, me, clock=clock, take_over=take_over) as holder:
        archived = _archive(desk, holder.ledger, wanted, archive)
        purged = _decide(holder, wanted, "purged")
        deleted = _delete(desk, holder.ledger)
        if deleted:
            now = open_desk(desk.broker, desk.values, desk.topic)
            holder.bury(read_ledger(now).stale)
        return Decided(purged, deleted, archive if archived else None)


def _decide(holder: Holder, wanted: Filter, action: State) -> int:
    decided = 0
    # Only where they lie: ten thousand letters may be a hundred gigabytes.
    places = ((letter.partition, letter.offset) for letter, _ in letters(holder.desk, holder.ledger, wanted))
    for chunk in chunks(places, BATCH):
        decision = holder.decision(action)
        offsets: dict[int, list[int]] = {}
        for partition, offset in chunk:
            offsets.setdefault(partition, []).append(offset)
        holder.commit((partition, decision, each) for partition, each in offsets.items())
        for partition, offset in chunk:
            holder.ledger.set(partition, offset, action)
        decided += len(chunk)
    return decided


def _archive(desk: Desk, ledger: Ledger, wanted: Filter, path: Path) -> int:
    """One line for each letter with all its bytes, on the disk before anything is decided; gives how many."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count, inexact = 0, list[str]()
    with new_file(path) as file:
        with gzip.GzipFile(fileobj=file.stream, filename="", mode="wb", mtime=0) as stream:
            for record, letter, state in every_record(desk, ledger, wanted):
                if wanted.matches(letter, state):
                    if any(name == UNREADABLE for name, _ in record.headers):
                        inexact.append(letter.name)
                    stream.write(_archived(desk, record))
                    count += 1
        _refuse_inexact(inexact)
        file.is_wanted = count > 0
    return count


def _refuse_inexact(names: Sequence[str]) -> None:
    if names:
        shown = " ".join(names[:_SHOWN])
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        raise RefusedError(
            f"nothing was purged: no archive could keep {len(names)} letters as they are",
            detail=(
                "a header of each has a name that is not UTF-8; Kafka's client gives none of their headers then",
                f"{shown}{more}",
            ),
            hint=f"put them aside, then purge the others: todoctl dlq park {shown}",
        )


def _archived(desk: Desk, record: Record) -> bytes:
    line = {
        "cluster": desk.cluster,
        "topic": desk.topic,
        "topic_id": desk.topic_id,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp_ms": record.timestamp_ms,
        "key": _base64(record.key),
        "value": _base64(record.value),
        "headers": [[name, _base64(value)] for name, value in record.headers],
    }
    return to_json(line) + b"\n"


def _base64(data: bytes | None) -> str | None:
    return None if data is None else b64encode(data).decode()


def _delete(desk: Desk, ledger: Ledger) -> int:
    """Delete the purged letters that lie before every other one of their partition; gives how many offsets went."""
    refuse_made_anew(desk)
    wanted: dict[Place, int] = {}
    for (topic, partition), (start, end) in desk.ranges.items():
        first = _first_kept(desk, ledger, (topic, partition), start, end)
        if first > start:
            wanted[topic, partition] = first
    if wanted:
        # Looking through a million letters took a while, and offsets are all that the deletion knows.
        refuse_made_anew(desk)
        topics.delete_before(desk.broker, wanted)
    return sum(first - desk.ranges[place][0] for place, first in wanted.items())


def _first_kept(desk: Desk, ledger: Ledger, place: Place, start: int, end: int) -> int:
    if start == end:
        return start
    for batch in records.scan(desk.broker, {place: start}, {place: end}):
        for record in batch:
            if ledger.state(record.partition, record.offset) != "purged":
                return record.offset
    return end


def archive_path(folder: Path, desk: Desk, clock: Clock) -> Path:
    """Where an archive goes when nobody says."""
    return folder / f"{desk.topic}-{clock():%Y%m%dT%H%M%S}.jsonl.gz"
