"""The lines of a plan file as they are read back: checked and taken apart many at once, since a plan may have a million."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import compress, islice, pairwise
from operator import lt
from typing import Annotated, BinaryIO

import msgspec
from msgspec import UNSET, UnsetType

from todoctl.core.dlq.foreign import Header
from todoctl.errors import UsageError

# So much of a plan is read at once: several hundred lines.
_BLOCK = 256 * 2**10

# Records of a key often have the same headers; those of so many are kept.
_HEADERS = 4096

AGAIN = "make a new one: todoctl dlq plan"


class Base64(msgspec.Struct, frozen=True, gc=False):
    """Bytes that are no text."""

    base64: bytes


Shown = str | Base64 | None


class Skip(msgspec.Struct, kw_only=True, tag_field="do", tag="skip", gc=False):
    """What every line has; what is only for the reader is not read."""

    letter: str
    digest: str


class Park(Skip, tag="park"):
    """A letter that came back too often."""


class Cover(Skip, tag="cover"):
    """A letter whose record is re-published for another one."""

    topic: str
    same_as: str


class Replay(Skip, tag="replay"):
    """A letter whose record is re-published: nothing of the record is guessed where something was cut."""

    topic: str
    partition: Annotated[int, msgspec.Meta(ge=0)] | None
    key: Shown
    headers: msgspec.Raw
    count: int
    wrapped: bool = False
    value: Shown | UnsetType = UNSET
    edited: bool | UnsetType = UNSET


Line = Skip | Park | Cover | Replay

_LINE: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)
_SHOWN_HEADERS = msgspec.json.Decoder(list[tuple[str, Shown]])
_NUMBERS = msgspec.json.Decoder(list[int])
_PLACES = re.compile(r"[0-9]+/[0-9]+(?:,[0-9]+/[0-9]+)*")
_Known = dict[bytes, list[Header]]


@dataclass(frozen=True, slots=True)
class Piece:
    """Lines about letters of one partition, by ascending offset; `headers` are those of the records to re-publish."""

    partition: int
    offsets: Sequence[int]
    lines: Sequence[Line]
    headers: Sequence[Sequence[Header]]

    def part(self, start: int, stop: int | None) -> Piece:
        """The lines from `start` to `stop`, exclusive."""
        where = slice(start, stop)
        return Piece(self.partition, self.offsets[where], self.lines[where], self.headers[where])

    def only(self, chosen: Sequence[bool]) -> Piece:
        """The lines that are chosen."""
        offsets, lines = list(compress(self.offsets, chosen)), list(compress(self.lines, chosen))
        return Piece(self.partition, offsets, lines, list(compress(self.headers, chosen)))


def pieces(stream: BinaryIO) -> Iterator[Piece]:
    """The lines of a plan after its header in their order, without those that skip a letter.

    Raises:
        UsageError: a line is none; it is named.
    """
    number, known = 2, _Known()
    while block := stream.read(_BLOCK):
        block += stream.readline()
        yield from _of_block(block, number, known)
        number += block.count(b"\n")


def shown_bytes(shown: Shown) -> bytes | None:
    """The bytes that were shown to the reader."""
    if isinstance(shown, str):
        return shown.encode()
    return None if shown is None else shown.base64


def _of_block(block: bytes, number: int, known: _Known) -> list[Piece]:
    """What is in a block of lines, the first of which has this number."""
    with contextlib.suppress(ValueError, msgspec.DecodeError):
        lines = _LINE.decode_lines(block)
        if len(lines) == block.count(b"\n") + (not block.endswith(b"\n")):
            return _pieces(lines, known)
    # There are empty lines, or one that is no entry: each by itself, that one has a number to be named by.
    each = [(at, line) for at, line in enumerate(block.split(b"\n"), number) if line.strip()]
    return [piece for at, line in each for piece in _of_line(line, at, known)]


def _of_line(line: bytes, number: int, known: _Known) -> list[Piece]:
    try:
        return _pieces([_LINE.decode(line)], known)
    except (ValueError, msgspec.DecodeError) as error:
        raise UsageError(f"line {number} of the plan is no entry: {error}", hint=AGAIN) from error


def _pieces(lines: list[Line], known: _Known) -> list[Piece]:
    partitions, offsets = _places(lines)
    if Skip in set(map(type, lines)):
        chosen = [type(line) is not Skip for line in lines]
        partitions, offsets = list(compress(partitions, chosen)), list(compress(offsets, chosen))
        lines = list(compress(lines, chosen))
    headers = _headers(lines, known)
    if len(set(partitions)) == 1 and all(map(lt, offsets, islice(offsets, 1, None))):
        return [Piece(partitions[0], offsets, lines, headers)]
    places = list(zip(partitions, offsets, strict=True))
    breaks = [at for at, (a, b) in enumerate(pairwise(places), 1) if a[0] != b[0] or a[1] >= b[1]]
    return [
        Piece(partitions[start], offsets[start:stop], lines[start:stop], headers[start:stop])
        for start, stop in pairwise([0, *breaks, len(places)])
        if start < stop
    ]


def _places(lines: list[Line]) -> tuple[list[int], list[int]]:
    """Partition and offset of each line's letter."""
    names = ",".join([line.letter for line in lines])
    if not _PLACES.fullmatch(names):
        raise ValueError("its letter is no partition/offset")
    # As JSON: split and int() for each took eight times as long.
    numbers = _NUMBERS.decode(f"[{names.replace('/', ',')}]")
    if len(numbers) != 2 * len(lines):
        raise ValueError("it has more than one letter")
    return numbers[::2], numbers[1::2]


def _headers(lines: list[Line], known: _Known) -> list[list[Header]]:
    """The headers of each line's record; none where nothing is re-published."""
    replays = [line for line in lines if isinstance(line, Replay)]
    if any(line.edited is UNSET for line in replays if line.value is not UNSET):
        raise ValueError("it has a value and does not say whether that was edited")
    raws = [bytes(line.headers) if isinstance(line, Replay) else b"[]" for line in lines]
    if len(known) > _HEADERS:
        known.clear()
    for raw in set(raws) - known.keys():
        known[raw] = [(name, shown_bytes(value)) for name, value in _SHOWN_HEADERS.decode(raw)]
    return [known[raw] for raw in raws]
