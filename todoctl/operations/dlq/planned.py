"""The letters that a plan names, as librdkafka's messages, in the plan's order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Self

from todoctl.adapters.kafka import columns
from todoctl.adapters.kafka.reader import Reader
from todoctl.core.dlq.plan import Entry
from todoctl.errors import RefusedError
from todoctl.operations.dlq.desk import Desk
from todoctl.operations.dlq.planning import chunks

AGAIN = "make a new one: todoctl dlq plan"

# Reading past so many letters costs as much as opening another reader.
_GAP = 5_000

# So many entries are known before their letters are read.
_AHEAD = 1000


def with_letters(desk: Desk, wanted: Iterable[Entry]) -> Iterator[tuple[Entry, Any] | None]:
    """Each entry with its letter, read in one go as far as they lie close together; None while one is looked for.

    Raises:
        RefusedError: a letter is gone.
    """
    partition, position, last = -1, 0, -1
    source: Iterator[list[Any]] = iter(())
    found: dict[int, Any] = {}
    with _Readers(desk) as readers:
        for chunk, following in _with_next(chunks(wanted, _AHEAD)):
            readers.prepare(chunk[-1].partition, following)
            for entry in chunk:
                offset = entry.offset
                if entry.partition != partition or not 0 <= offset - position < _GAP:
                    source, last = readers.open(entry.partition, offset), -1
                partition, position = entry.partition, offset + 1
                while last < offset and (batch := next(source, None)) is not None:
                    yield None
                    if batch:
                        found, last = dict(zip(columns.offsets(batch), batch, strict=True)), batch[-1].offset()
                if (message := found.get(offset)) is None or last < offset:
                    raise RefusedError(f"the plan no longer fits: the letter {entry.name} is gone", hint=AGAIN)
                yield entry, message


def _with_next(each: Iterable[list[Entry]]) -> Iterator[tuple[list[Entry], list[Entry]]]:
    """Each chunk with the one that follows; the last one with an empty one."""
    before: list[Entry] = []
    for chunk in each:
        if before:
            yield before, chunk
        before = chunk
    if before:
        yield before, []


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

    def prepare(self, partition: int, following: list[Entry]) -> None:
        """Begin to fetch what comes after this partition, when that is among the following entries."""
        if self._next is None and following and following[-1].partition != partition:
            first = next(entry for entry in following if entry.partition != partition)
            where = (first.partition, first.offset)
            self._next = (where, self._start(*where))

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
