"""The letters that a plan names, as librdkafka's messages, in the plan's order."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Self

from todoctl.adapters.kafka import columns
from todoctl.adapters.kafka.reader import Reader
from todoctl.core.dlq.plan_line import AGAIN, Piece
from todoctl.errors import RefusedError
from todoctl.operations.dlq.desk import Desk

# Reading past so many letters costs as much as opening another reader.
_GAP = 5_000

# So many pieces, most of several hundred letters, are known before their letters are read: another partition's reader
# needs that long until it has some.
_AHEAD = 8

# Lines of a plan, and the letter of each.
Letters = tuple[Piece, list[Any]]


def with_letters(desk: Desk, wanted: Iterable[Piece]) -> Iterator[Letters | None]:
    """The pieces with their letters, cut where the letters were read at once; None while more of them are looked for.

    Raises:
        RefusedError: a letter is gone.
    """
    partition, first, last = -1, 0, 0
    source: Iterator[list[Any]] = iter(())
    found: dict[int, Any] = {}
    with _Readers(desk) as readers:
        for piece in readers.ahead(wanted):
            at = 0
            while at < len(piece.offsets):
                offset = piece.offsets[at]
                if piece.partition != partition or not first <= offset < last + _GAP:
                    source, partition = readers.open(piece.partition, offset), piece.partition
                    first, last, found = offset, offset - 1, {}
                while last < offset and (batch := next(source, None)) is not None:
                    yield None
                    if batch:
                        found = dict(zip(columns.offsets(batch), batch, strict=True))
                        first, last = batch[0].offset(), batch[-1].offset()
                stop = max(at + 1, bisect_right(piece.offsets, last, at))
                now = piece.part(at, stop)
                messages = list(map(found.get, now.offsets))
                if None in messages:
                    name = now.lines[messages.index(None)].letter
                    raise RefusedError(f"the plan no longer fits: the letter {name} is gone", hint=AGAIN)
                yield now, messages
                at = stop


class _Readers(AbstractContextManager["_Readers"]):
    """One reader for the letters that are read, and one that fetches the next partition's meanwhile."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._open: Reader | None = None
        self._next: tuple[tuple[int, int], Reader | None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        _close(self._open)
        _close(self._next and self._next[1])

    def ahead(self, wanted: Iterable[Piece]) -> Iterator[Piece]:
        """The pieces; where another partition's are near, its letters begin to be fetched."""
        known = deque[Piece]()
        for piece in wanted:
            if self._next is None and known and piece.partition != known[-1].partition:
                where = (piece.partition, piece.offsets[0])
                self._next = (where, self._start(*where))
            known.append(piece)
            if len(known) > _AHEAD:
                yield known.popleft()
        yield from known

    def open(self, partition: int, offset: int) -> Iterator[list[Any]]:
        """The messages from this offset on; those of the place before are no longer read."""
        _close(self._open)
        self._open = None
        prepared, self._next = self._next, None
        if prepared is not None and prepared[0] == (partition, offset):
            self._open = prepared[1]
        else:
            _close(prepared and prepared[1])
            self._open = self._start(partition, offset)
        return self._open.batches() if self._open else iter(())

    def _start(self, partition: int, offset: int) -> Reader | None:
        """A reader up to the end that the letters have now; None where none lies there."""
        place = (self._desk.topic, partition)
        start, end = self._desk.ranges.get(place, (0, 0))
        if not start <= offset < end:
            return None
        return Reader(self._desk.broker, {place: offset}, {place: end}).__enter__()


def _close(reader: Reader | None) -> None:
    if reader is not None:
        reader.__exit__(None, None, None)
