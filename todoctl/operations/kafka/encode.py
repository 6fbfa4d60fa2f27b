"""Batches of messages as bytes: raw, JSON, or a format of one's own; a batch becomes one piece to write.

Everything that is the same for each message runs in C over the whole batch (`map`, one formatting). JSON of a batch that
is as most are is the matter of `json_rows`; any other takes the slow way, which writes the same.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import chain
from typing import Any

from todoctl.adapters.kafka import columns
from todoctl.adapters.kafka.columns import Column
from todoctl.errors import UsageError

Encoder = Callable[[list[Any]], bytes]

# What JSON leaves as it is and a terminal may obey: DEL, C1 controls, and what reorders text.
_STEERING = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def raw(batch: list[Any]) -> bytes:
    """The values as they are, a line end after each; a tombstone is an empty line."""
    values: list[Any] = list(columns.values(batch))
    values.append(b"")
    try:
        return b"\n".join(values)
    except TypeError:
        return b"\n".join([value or b"" for value in values])


def json_encoder(*, topic: str | None = None, separator: bytes = b"\n") -> Encoder:
    r"""Encodes each message as an object, `separator` behind each; `topic` where all are of this one.

    `key` and `value` are text; a value that is a JSON object or array is embedded as it stands, numbers and all. What
    is not UTF-8 is null there and in base64 in `key_base64` and `value_base64`. Control characters are escaped.
    """
    from todoctl.operations.kafka.json_rows import lines as quick

    name = b"%b" if topic is None else _quoted(topic).replace(b"%", b"%%")
    start = b'{"topic":' + name + b',"partition":%d,"offset":%d,"timestamp_ms":%d,"key":'
    places: list[Column] = [_topics] if topic is None else []
    places += [columns.partitions, columns.offsets, columns.times]
    line = start + b'%b,"value":%b,"headers":%b}' + separator

    def encode(batch: list[Any]) -> bytes:
        if (found := quick(batch, topic)) is not None:
            return found if separator == b"\n" else found.replace(b"\n", separator)
        found = _filled(line, [*places, _keys, _values, _headers], batch)
        return _STEERING.sub(lambda match: f"\\u{ord(match[0]):04x}", found.decode()).encode()

    return encode


def format_encoder(text: str) -> Encoder:
    r"""Encodes by a format like kcat's: %t %p %o %k %K %s %S %T %d %h %%, and \n \t \r \0 \\.

    Topic, partition, offset, key and its length, value and its length, time in milliseconds and as ISO, headers.

    Raises:
        UsageError: it has a token that is none of these.
    """
    template, fields = bytearray(), list[Column]()
    for part in re.findall(r"%.?|\\.?|[^%\\]+", text, re.DOTALL):
        if part in _TOKENS:
            shape, column = _TOKENS[part]
            template += shape
            fields.append(column)
        elif part in _ESCAPES:
            template += _ESCAPES[part]
        elif part[0] in "%\\":
            known = " ".join((*_TOKENS, *_ESCAPES))
            raise UsageError(f"--format: {part!r} is not one of {known}", hint="todoctl topics tail --help")
        else:
            template += part.encode(errors="surrogateescape")
    return lambda batch: _filled(bytes(template), fields, batch)


def iso(timestamp_ms: int) -> str:
    """A time in milliseconds as ISO 8601 in UTC; empty where a record has none, or one beyond the calendar."""
    if timestamp_ms < 0:
        return ""
    second = _second(timestamp_ms // 1000)
    return f"{second}.{timestamp_ms % 1000:03d}Z" if second else ""


@lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}"
    except (ValueError, OverflowError, OSError):
        return ""


def _filled(template: bytes, fields: Sequence[Column], batch: list[Any]) -> bytes:
    rows = zip(*(column(batch) for column in fields), strict=True)
    return template * len(batch) % tuple(chain.from_iterable(rows))


def _topics(batch: list[Any]) -> Iterable[bytes]:
    return map(_quoted, columns.topics(batch))


@lru_cache(maxsize=4096)
def _quoted(text: str) -> bytes:
    import msgspec

    return msgspec.json.encode(text)


def _keys(batch: list[Any]) -> Iterable[bytes]:
    return [_text(key, b',"key_base64":') for key in columns.keys(batch)]


def _values(batch: list[Any]) -> Iterable[bytes]:
    return [_text(value, b',"value_base64":', embeds=True) for value in columns.values(batch)]


def _text(value: bytes | None, otherwise: bytes, *, embeds: bool = False) -> bytes:
    """A JSON string; the document itself where it `embeds`; null and `otherwise` with base64 where it is no text."""
    import msgspec

    if value is None:
        return b"null"
    if embeds and value[:1] in {b"{", b"["} and (compact := _document(value)) is not None:
        return compact
    try:
        return msgspec.json.encode(value.decode())
    except UnicodeDecodeError:
        return b'null%b"%b"' % (otherwise, binascii.b2a_base64(value, newline=False))


def _document(value: bytes) -> bytes | None:
    """One JSON object or array, on one line; None where it is none."""
    import msgspec

    try:
        _json_decoder().decode(value)
        return msgspec.json.format(value, indent=-1) if _is_text(value) else None
    except (msgspec.DecodeError, RecursionError):
        return None


@lru_cache(maxsize=1)
def _json_decoder() -> Any:
    """Checks a document's form without building it."""
    import msgspec

    return msgspec.json.Decoder(msgspec.Raw)


def _is_text(value: bytes) -> bool:
    if value.isascii():
        return True
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _headers(batch: list[Any]) -> Iterable[bytes]:
    return map(_header_list, columns.headers(batch))


def _header_list(headers: Any) -> bytes:
    """`[{"name":…,"value":…}]`: names may come twice."""
    parts = [
        b'{"name":%b,"value":%b}' % (_quoted(name), _text(value, b',"value_base64":')) for name, value in headers or ()
    ]
    return b"[%b]" % b",".join(parts)


def _bytes(column: Column) -> Column:
    return lambda batch: [value or b"" for value in column(batch)]


def _lengths(column: Column) -> Column:
    return lambda batch: [-1 if value is None else len(value) for value in column(batch)]


def _header_text(batch: list[Any]) -> Iterable[bytes]:
    return [
        b",".join(b"%b=%b" % (name.encode(), value or b"") for name, value in columns.headers_of(message))
        for message in batch
    ]


_ESCAPES = {"%%": b"%%", r"\n": b"\n", r"\t": b"\t", r"\r": b"\r", r"\0": b"\0", "\\\\": b"\\"}
_TOKENS: dict[str, tuple[bytes, Column]] = {
    "%t": (b"%b", lambda batch: map(str.encode, columns.topics(batch))),
    "%p": (b"%d", columns.partitions),
    "%o": (b"%d", columns.offsets),
    "%k": (b"%b", _bytes(columns.keys)),
    "%K": (b"%d", _lengths(columns.keys)),
    "%s": (b"%b", _bytes(columns.values)),
    "%S": (b"%d", _lengths(columns.values)),
    "%T": (b"%d", columns.times),
    "%d": (b"%b", lambda batch: map(str.encode, map(iso, columns.times(batch)))),
    "%h": (b"%b", _header_text),
}
