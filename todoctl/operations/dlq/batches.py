"""What one transaction of a replay does, handed over piece by piece: every letter was compared with the plan before."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from queue import SimpleQueue
from typing import Any, Literal

from todoctl.adapters.kafka import columns
from todoctl.adapters.kafka.transactions import Send
from todoctl.core.dlq.decisions import Decided, Decision, State
from todoctl.core.dlq.letters import digest, mark, wrapped_value
from todoctl.core.dlq.plan import Entry
from todoctl.errors import RefusedError
from todoctl.operations.dlq.planned import AGAIN

# What one transaction may hold in memory.
_BYTES = 32 * 2**20

# Letters in a piece: what was just made is still in the processor's cache when it is sent.
_PIECE = 500

# Seconds after which a batch ends where letters are slow to come: the broker gives up a transaction that is open for 30.
_PATIENCE = 5.0

# Letters of a partition with the same of these share a decision: action, topic and partition of the record, how often.
_What = tuple[int, State, str | None, int | None, int]


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
    _pieces: SimpleQueue[list[Send] | Literal["whole", "given up"]] = field(default_factory=SimpleQueue)

    @property
    def age(self) -> float:
        """Seconds since it was begun to be prepared."""
        return time.monotonic() - self.since

    def sends(self) -> Iterator[Send]:
        """The records; waits for those that are not ready yet.

        Raises:
            GivenUpError: as it says.
        """
        while (piece := self._pieces.get()) != "whole":
            if piece == "given up":
                raise GivenUpError
            yield from piece

    def give(self, sends: list[Send]) -> None:
        """Hand over records that are ready."""
        self._pieces.put(sends)

    def end(self, sends: list[Send], decided: list[Decided]) -> None:
        """Hand over the last records, and what was decided about the letters of all."""
        self.give(sends)
        self.decided += decided
        self.is_whole = True
        self._pieces.put("whole")

    def give_up(self) -> None:
        """Say that the rest won't come."""
        self._pieces.put("given up")


def batches(
    decide: Callable[[State], Decision], plan: str, pairs: Iterable[tuple[Entry, Any] | None], *, size: int, first: int
) -> Iterator[Batch]:
    """Batches of up to `size` letters, the first one of `first`; each is given after each of its pieces.

    A pair that is None says that a letter is still looked for.

    Raises:
        RefusedError: a letter is not the one that was reviewed.
    """
    batch, left, sends = Batch(), first, list[Send]()
    told: defaultdict[_What, list[int]] = defaultdict(list)
    for pair in pairs:
        if pair is not None:
            _take(plan, batch, sends, told, *pair)
            left -= 1
        if left <= 0 or batch.bytes >= _BYTES or (pair is None and told and batch.age > _PATIENCE):
            batch.end(sends, _decisions(decide, told))
            yield batch
            batch, left, sends, told = Batch(), size, [], defaultdict(list)
        elif len(sends) >= _PIECE:
            batch.give(sends)
            yield batch
            sends = []
    if told:
        batch.end(sends, _decisions(decide, told))
        yield batch


def _take(
    plan: str, batch: Batch, sends: list[Send], told: defaultdict[_What, list[int]], entry: Entry, message: Any
) -> None:
    value = message.value()
    if entry.digest != digest(message.key(), value, columns.headers_of(message)):
        raise RefusedError(f"the letter {entry.name} is not the one that was reviewed", hint=AGAIN)
    if entry.act == "replay":
        sends.append(send := _send(plan, entry, value))
        batch.bytes += len(send[1] or b"")
        batch.replayed += 1
        told[entry.partition, "replayed", entry.topic, entry.to, entry.count].append(entry.offset)
    elif entry.act == "park":
        batch.parked += 1
        told[entry.partition, "parked", None, None, 0].append(entry.offset)
    else:
        batch.covered += 1
        told[entry.partition, "replayed", entry.topic, None, 0].append(entry.offset)


def _send(plan: str, entry: Entry, value: bytes | None) -> Send:
    if entry.has_value:
        value = entry.value
    elif entry.is_wrapped:
        value = wrapped_value(value)
    headers = [*entry.headers, mark(plan, entry.partition, entry.offset, entry.count)]
    return entry.topic or "", value, entry.key, -1 if entry.to is None else entry.to, headers


def _decisions(decide: Callable[[State], Decision], told: dict[_What, list[int]]) -> list[Decided]:
    return [
        (partition, replace(decide(action), topic=topic, partition=to, count=count), offsets)
        for (partition, action, topic, to, count), offsets in told.items()
    ]
