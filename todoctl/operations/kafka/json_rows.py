"""Records as most are (short plain keys, documents, no headers) as JSON lines; all that is done to each runs in C."""

from __future__ import annotations

from operator import itemgetter
from typing import Any

import msgspec

from todoctl.adapters.kafka import columns

_STARTS = {ord("{"), ord("[")}


class _Row(msgspec.Struct, gc=False):
    """One line, its fields in this order."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: str
    value: msgspec.Raw
    headers: tuple[()] = ()


_checked = msgspec.json.Decoder(msgspec.Raw).decode  # that it is one document; nothing is built of it
_encode = msgspec.json.Encoder().encode_lines


def lines(batch: list[Any]) -> bytes | None:
    """A line for each message; None where one of them is not as most are."""
    keys, values = list(columns.keys(batch)), list(columns.values(batch))
    try:
        if not _are_plain(keys, values) or any(columns.headers(batch)):
            return None
        documents = map(_checked, values)
        names = b"\n".join(keys).decode().split("\n")
        places = columns.topics(batch), columns.partitions(batch), columns.offsets(batch)
        return _encode(list(map(_Row, *places, columns.times(batch), names, documents)))
    except (TypeError, IndexError, msgspec.DecodeError, RecursionError):
        return None


def _are_plain(keys: list[Any], values: list[Any]) -> bool:
    """Whether each key is text that JSON takes as it is, and each value could be a document to embed as it is.

    It stays on its line, and has nothing that a terminal may obey: DEL is the only such character in ASCII.
    """
    text = b"".join(values)
    return (
        b"".join(keys).replace(b"-", b"0").isalnum()
        and set(map(itemgetter(0), values)) <= _STARTS
        and text.isascii()
        and b"\n" not in text
        and b"\x7f" not in text
    )
