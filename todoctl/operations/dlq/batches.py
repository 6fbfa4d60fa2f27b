"""What one transaction of a replay does, handed over piece by piece: every letter was compared with the plan before."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress
from queue import SimpleQueue
from typing import Any, Literal, cast

from msgspec import UNSET

from todoctl.adapters.kafka import columns
from todoctl.adapters.kafka.transactions import Sends
from todoctl.core.dlq.decisions import Decided, Decision, State
from todoctl.core.dlq.letters import digests, marks, wrapped_value
from todoctl.core.dlq.plan_line import AGAIN, Cover, Park, Piece, Replay, shown_bytes
from todoctl.errors import RefusedError
from todoctl.operations.dlq.planned import Letters

# What one transaction may hold in memory.
_BYTES = 32 * 2**20

# Letters in a piece: what was just made is still in the processor's cache when it is sent.
_PIECE = 500

# Seconds after which a batch ends where letters are slow to come: the broker gives up a transaction that is open for 30.
_PATIENCE = 5.0

# Letters of a partition with the same of these share a decision: action, topic and partition of the record, how often.
_What = tuple[int, State, str | None, int, int]

_NOTHING: Letters = (Piece(0, (), (), ()), [])


class GivenUpError(Exception):
    """The rest of a batch won't come: its transaction must not be committed."""


@dataclass
class Batch:
    """Records to send as they become ready, and, once it `is_whole`, how many letters were decided and how.

    `decided` is filled before the last record is given: whoever has taken all records has all decisions.
    """

    decided: list[Decided] = field(default_factory=list)
    replayed: int = 0
    covered: int = 0
    parked: int = 0
    bytes: int = 0
    is_whole: bool = False
    since: float = field(default_factory=time.monotonic)
    _pieces: SimpleQueue[Sends | Literal["whole", "given up"]] = field(default_factory=SimpleQueue)

    @property
    def age(self) -> float:
        """Seconds since it was begun to be prepared."""
        return time.monotonic() - self.since

    def pieces(self) -> Iterator[Sends]:
        """The records; waits for those that are not ready yet.

        Raises:
            GivenUpError: as it says.
        """
        while (piece := self._pieces.get()) != "whole":
            if piece == "given up":
                raise GivenUpError
            yield piece

    def give(self, sends: Sends) -> None:
        """Hand over records that are ready."""
        self._pieces.put(sends)

    def end(self, sends: Sends, decided: list[Decided]) -> None:
        """Hand over the last records, and what was decided about the letters of all."""
        self.give(sends)
        self.decided += decided
        self.is_whole = True
        self._pieces.put("whole")

    def give_up(self) -> None:
        """Say that the rest won't come."""
        self._pieces.put("given up")


def batches(
    decide: Callable[[State], Decision], plan: str, parts: Iterable[Letters | None], *, size: int, first: int
) -> Iterator[Batch]:
    """Batches of up to `size` letters, the first one of `first`; each is given after each of its pieces.

    A part that is None says that letters are still looked for.

    Raises:
        RefusedError: a letter is not the one that was reviewed.
    """
    batch, left, sends = Batch(), first, Sends()
    told: defaultdict[_What, list[int]] = defaultdict(list)
    for part in parts:
        lines, messages = part or _NOTHING
        at = 0
        while True:
            stop = min(at + left, len(messages))
            if at < stop:
                _take(plan, batch, sends, told, lines.part(at, stop), messages[at:stop])
                left, at = left - (stop - at), stop
            if left <= 0 or batch.bytes >= _BYTES or (part is None and told and batch.age > _PATIENCE):
                batch.end(sends, _decisions(decide, told))
                yield batch
                batch, left, sends, told = Batch(), size, Sends(), defaultdict(list)
            elif len(sends) >= _PIECE:
                batch.give(sends)
                yield batch
                sends = Sends()
            if at == len(messages):
                break
    if told:
        batch.end(sends, _decisions(decide, told))
        yield batch


def _take(
    plan: str, batch: Batch, sends: Sends, told: defaultdict[_What, list[int]], piece: Piece, messages: list[Any]
) -> None:
    values = list(columns.values(messages))
    _compare(piece, digests(columns.keys(messages), values, columns.headers(messages)))
    replays = [type(line) is Replay for line in piece.lines]
    if not all(replays):
        _tell_others(batch, told, piece)
        piece, values = piece.only(replays), list(compress(values, replays))
    lines = cast(Sequence[Replay], piece.lines)
    counts = [line.count for line in lines]
    own = marks(plan, [line.letter for line in lines], counts)
    more = Sends(
        [line.topic for line in lines],
        _values(lines, values),
        [key.encode() if isinstance(key := line.key, str) else shown_bytes(key) for line in lines],
        [-1 if (to := line.partition) is None else to for line in lines],
        [[*headers, mark] for headers, mark in zip(piece.headers, own, strict=True)],
    )
    sends.extend(more)
    batch.replayed += len(more)
    batch.bytes += sum(map(len, filter(None, more.values)))
    for what, offset in zip(zip(more.topics, more.partitions, counts, strict=True), piece.offsets, strict=True):
        told[piece.partition, "replayed", *what].append(offset)


def _compare(piece: Piece, found: list[str]) -> None:
    reviewed = [line.digest for line in piece.lines]
    if found != reviewed:
        name = next(line.letter for line, digest in zip(piece.lines, found, strict=True) if line.digest != digest)
        raise RefusedError(f"the letter {name} is not the one that was reviewed", hint=AGAIN)


def _tell_others(batch: Batch, told: defaultdict[_What, list[int]], piece: Piece) -> None:
    """What is decided about letters without a record of their own."""
    for line, offset in zip(piece.lines, piece.offsets, strict=True):
        if isinstance(line, Cover):
            batch.covered += 1
            told[piece.partition, "replayed", line.topic, -1, 0].append(offset)
        elif isinstance(line, Park):
            batch.parked += 1
            told[piece.partition, "parked", None, -1, 0].append(offset)


def _values(lines: Sequence[Replay], letters: list[bytes | None]) -> list[bytes | None]:
    """What is sent for each letter: its own value, the one inside of it, or the plan's."""
    return [
        shown_bytes(line.value) if line.value is not UNSET else wrapped_value(letter) if line.wrapped else letter
        for line, letter in zip(lines, letters, strict=True)
    ]


def _decisions(decide: Callable[[State], Decision], told: dict[_What, list[int]]) -> list[Decided]:
    return [
        (partition, replace(decide(action), topic=topic, partition=None if to < 0 else to, count=count), offsets)
        for (partition, action, topic, to, count), offsets in told.items()
    ]
