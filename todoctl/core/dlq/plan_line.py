"""A line of a plan file as it is read back: checked and taken apart in one go, since a plan may have a million."""

from __future__ import annotations

from typing import Annotated

import msgspec

from todoctl.core.dlq.foreign import Header


class Base64(msgspec.Struct, frozen=True):
    """Bytes that are no text."""

    base64: bytes


Shown = str | Base64 | None


class Skip(msgspec.Struct, kw_only=True, tag_field="do", tag="skip"):
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
    headers: tuple[tuple[str, Shown], ...]
    count: int
    wrapped: bool = False
    value: Shown | msgspec.UnsetType = msgspec.UNSET
    edited: bool | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        """Refuse a value of which nobody says whether somebody wrote it."""
        if self.value is not msgspec.UNSET and self.edited is msgspec.UNSET:
            raise ValueError("it has a value and does not say whether that was edited")

    @property
    def key_bytes(self) -> bytes | None:
        """The record's key."""
        return _bytes(self.key)

    @property
    def header_bytes(self) -> tuple[Header, ...]:
        """The record's headers."""
        return tuple([(name, _bytes(value)) for name, value in self.headers])

    @property
    def value_bytes(self) -> bytes | None:
        """The record's value, where the line has it."""
        return None if isinstance(self.value, msgspec.UnsetType) else _bytes(self.value)


Line = Skip | Park | Cover | Replay
_DECODER: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)


def read(line: bytes) -> Line:
    """The line, checked.

    Raises:
        ValueError: it is none.
    """
    try:
        return _DECODER.decode(line)
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from error


def _bytes(shown: Shown) -> bytes | None:
    if isinstance(shown, str):
        return shown.encode()
    return None if shown is None else shown.base64
