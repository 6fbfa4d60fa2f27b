"""A line of a plan file as it is read back: checked and taken apart in one go, since a plan may have a million."""

from __future__ import annotations

from typing import Annotated

import msgspec


class Base64(msgspec.Struct, frozen=True, gc=False):
    """Bytes that are no text."""

    base64: bytes


Shown = str | Base64 | None


class Skip(msgspec.Struct, kw_only=True, tag_field="do", tag="skip", gc=False):
    """What every line has; what is only for the reader is not read."""

    letter: str
    digest: str
    because: str | None = None


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
    headers: list[tuple[str, Shown]]
    count: int
    wrapped: bool = False
    value: Shown | msgspec.UnsetType = msgspec.UNSET
    edited: bool | msgspec.UnsetType = msgspec.UNSET


Line = Skip | Park | Cover | Replay
_DECODER: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)


def read(line: bytes) -> Line:
    """The line, checked.

    Raises:
        ValueError: it is none.
    """
    try:
        found = _DECODER.decode(line)
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from error
    # A method of the type's own would be called for every line.
    if isinstance(found, Replay) and found.edited is msgspec.UNSET and found.value is not msgspec.UNSET:
        raise ValueError("it has a value and does not say whether that was edited")
    return found
