"""Making a plan file: every letter that is meant, what is to be done with it, and what proves that nothing changed."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import TypeVar

from todoctl.adapters.kafka import records
from todoctl.core.dlq.decisions import Operator
from todoctl.core.dlq.filters import Filter
from todoctl.core.dlq.plan import ACTS, Entry, PlanHeader, Target
from todoctl.core.dlq.planning import Edit, Planner
from todoctl.errors import RefusedError
from todoctl.operations.dlq.desk import Desk, largest_messages, letters, read_ledger
from todoctl.operations.dlq.files import named, new_file
from todoctl.operations.dlq.originals import find_originals

_CHUNK = 5000
_BYTES = 16 * 2**20  # of letters that are kept at once; each may have ten megabytes

_T = TypeVar("_T")


@dataclass(frozen=True)
class PlanRequest:
    """What a plan is to be made of and where it is written; `consumers` are the groups of each topic."""

    wanted: Filter
    path: Path
    environment: str
    max_returns: int
    consumers: Mapping[str, tuple[str, ...]]
    edit: Edit | None = None
    edit_text: str | None = None
    takes_invalid: bool = False


def make_plan(desk: Desk, request: PlanRequest, me: Operator) -> Iterator[Entry | PlanHeader]:
    """Write the plan; yields each entry and at last the header.

    Raises:
        RefusedError: letters that are decided for good were asked for.
    """
    if not set(request.wanted.states) <= {"pending", "parked"}:
        raise RefusedError("only pending and parked letters can be replayed", hint="todoctl dlq list --state all")
    targets = _targets(desk, request)
    planner = Planner(targets, largest_messages(desk), request.max_returns, request.edit, request.takes_invalid)
    seen = hashlib.sha256()
    with named(request.path), TemporaryFile(dir=request.path.parent) as lines:
        for entry in _entries(desk, request, planner):
            line = entry.encode()
            seen.update(line)
            lines.write(line)
            yield entry
        header = _header(desk, request, me, planner, seen.hexdigest())
        lines.seek(0)
        with new_file(request.path) as file:
            file.stream.write(header.encode())
            shutil.copyfileobj(lines, file.stream, 2**20)
    yield header


def _entries(desk: Desk, request: PlanRequest, planner: Planner) -> Iterator[Entry]:
    ledger = read_ledger(desk)
    ranges = records.watermarks(desk.broker, list(planner.targets))
    for chunk in chunks(letters(desk, ledger, request.wanted), _CHUNK, lambda item: len(item[0].value or b"")):
        found = find_originals(desk.broker, (letter.origin for letter, _ in chunk), ranges)
        for letter, _ in chunk:
            origin = letter.origin
            place = (origin.topic, origin.partition, origin.offset) if origin else None
            yield planner.entry(letter, found.get(place) if place else None)  # type: ignore[arg-type]


def _targets(desk: Desk, request: PlanRequest) -> dict[str, Target]:
    """Every topic of the platform that records may go back to: not the letters themselves, not the decisions."""
    names = [
        name
        for name, topic in desk.values.topics.items()
        if name != desk.topic and not topic.compacted and name in desk.topic_ids
    ]
    ends: dict[str, dict[int, int]] = {name: {} for name in names}
    for (name, partition), (_, end) in records.watermarks(desk.broker, names, read_committed=False).items():
        ends[name][partition] = end
    return {
        name: Target(
            topic_id=desk.topic_ids[name],
            partitions=len(ends[name]),
            ends=ends[name],
            consumers=request.consumers.get(name, ()),
        )
        for name in names
    }


def _header(desk: Desk, request: PlanRequest, me: Operator, planner: Planner, digest: str) -> PlanHeader:
    used = {name: target for name, target in planner.targets.items() if name in planner.used}
    header = PlanHeader(
        id=hashlib.sha256(f"{digest}{me.session}".encode()).hexdigest()[:12],
        made_at=me.since,
        made_by=f"{me.user}@{me.host}",
        environment=request.environment,
        cluster=desk.cluster,
        topic=desk.topic,
        topic_id=desk.topic_id,
        ends=desk.ends,
        states=tuple(state for state in request.wanted.states if state in {"pending", "parked"}),
        filters=dict(request.wanted.stated),
        edit=request.edit_text,
        max_returns=request.max_returns,
        targets=used,
        counts={act: planner.counts[act] for act in ACTS},
        because=dict(planner.because),
        risks=planner.risks,
        digest="",
    )
    return header.model_copy(update={"digest": header.seal(digest)})


def chunks(items: Iterable[_T], size: int, weight: Callable[[_T], int] = lambda _: 0) -> Iterator[list[_T]]:
    """The items in lists of up to `size`, fewer where they weigh so much together that memory would notice."""
    chunk, weighs = list[_T](), 0
    for item in items:
        chunk.append(item)
        weighs += weight(item)
        if len(chunk) == size or weighs >= _BYTES:
            yield chunk
            chunk, weighs = [], 0
    if chunk:
        yield chunk
