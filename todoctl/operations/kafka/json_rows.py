"""Records as most are (short plain keys, documents, no headers) as JSON lines; all that is done to each runs in C."""

from __future__ import annotations

from itertools import repeat
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


def lines(batch: list[Any], topic: str | None = None) -> bytes | None:
    """A line for each message, of `topic` where all are of this one; None where one of them is not as most are."""
    values = list(columns.values(batch))
    try:
        names = b"\n".join(columns.keys(batch))
        keys = names.decode().split("\n")
        # As many: every message has a key, and none has a line end.
        if len(keys) != len(batch) or not _are_plain(names, values) or columns.have_headers(batch):
            return None
        topics = columns.topics(batch) if topic is None else repeat(topic)
        places = columns.partitions(batch), columns.offsets(batch), columns.times(batch)
        return _encode(list(map(_Row, topics, *places, keys, map(_checked, values))))
    except (TypeError, IndexError, UnicodeDecodeError, msgspec.DecodeError, RecursionError):
        return None


def _are_plain(names: bytes, values: list[Any]) -> bool:
    """Whether each value could be a document to embed as it is, and stays on its line.

    Neither they nor the keys have what a terminal may obey: DEL is all of that in ASCII which JSON leaves as it is.
    """
    text = b"".join(values)
    return (
        set(map(itemgetter(0), values)) <= _STARTS
        and b"\n" not in text
        and all(found.isascii() and b"\x7f" not in found for found in (text, names))
    )
