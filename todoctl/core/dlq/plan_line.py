"""A line of a plan file as it is read back: checked and taken apart in one go, since a plan may have a million."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

import msgspec

from todoctl.core.dlq.foreign import Header

# replay: re-publish. cover: the same record is re-published for another letter. park: it came back too often.
Act = Literal["replay", "cover", "park", "skip"]
ACTS: tuple[Act, ...] = get_args(Act)


class Base64(msgspec.Struct, frozen=True):
    """Bytes that are no text."""

    base64: bytes


Shown = str | Base64 | None


class Line(msgspec.Struct, kw_only=True):
    """What `Entry.encode` wrote, without what is only for the reader."""

    letter: str
    do: Act
    digest: str
    because: str | None = None
    topic: str | None = None
    partition: Annotated[int, msgspec.Meta(ge=0)] | None = None
    same_as: str | None = None
    key: Shown = None
    headers: tuple[tuple[str, Shown], ...] = ()
    count: int = 0
    wrapped: bool = False
    value: Shown | msgspec.UnsetType = msgspec.UNSET
    edited: bool = False

    def __post_init__(self) -> None:
        """Refuse a line that does not say what its act needs."""
        if self.do in {"replay", "cover"} and self.topic is None:
            raise ValueError("it names no topic")
        if self.do == "replay" and self.count < 1:
            raise ValueError("it does not say how often the record was sent")

    @property
    def key_bytes(self) -> bytes | None:
        """The record's key."""
        return _bytes(self.key)

    @property
    def header_bytes(self) -> tuple[Header, ...]:
        """The record's headers."""
        return tuple([(name, _bytes(value)) for name, value in self.headers])

    @property
    def has_value(self) -> bool:
        """Whether the line has the record's value."""
        return self.value is not msgspec.UNSET

    @property
    def value_bytes(self) -> bytes | None:
        """The record's value, where the line has it."""
        return None if isinstance(self.value, msgspec.UnsetType) else _bytes(self.value)


_DECODER = msgspec.json.Decoder(Line)


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
