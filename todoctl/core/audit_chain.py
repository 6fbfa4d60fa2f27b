"""The audit log's hash chain: how a row's hash is made, and where a chain was first tampered with.

Each (topic, partition) has one chain. A row's hash covers every column that says something and the hash before it, so
that a changed, removed, added or moved row breaks the chain from there on; the head, kept apart, catches a cut tail.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from json.encoder import encode_basestring_ascii as _text
from operator import itemgetter
from typing import Any, Literal

GENESIS = bytes(32)

# Everything in audit.audit_logs but the row's own number and the two hashes. Adding a column here changes every hash
# of old rows; a new one belongs into `details`.
CHAINED_COLUMNS = (
    "topic",
    "partition",
    "chain_seq",
    "record_offset",
    "record_key",
    "event_id",
    "action_type",
    "resource_type",
    "resource_id",
    "user_id",
    "user_seq",
    "version",
    "correlation_id",
    "timestamp",
    "recorded_at",
    "details",
    "raw",
)

_AS_THEY_ARE = frozenset({str, int, type(None)})
_VALUES = itemgetter(*CHAINED_COLUMNS)

Plain = str | int | None
Damage = Literal[
    "changed",
    "missing",
    "out of place",
    "unlinked",
    "tail missing",
    "beyond the head",
    "head changed",
    "head missing",
    "rewritten",
]


@dataclass(frozen=True, slots=True)
class Head:
    """Where a chain ends according to audit.chain_heads."""

    chain_seq: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Broken:
    """The first bad place of a chain; `log_id` is None where no row is left to point at."""

    chain_seq: int
    damage: Damage
    detail: str
    log_id: int | None = None


def canonical(row: Mapping[str, Any]) -> bytes:
    """The chained columns of a row as one unambiguous line of JSON; `details` is the stored text, not parsed."""
    return _line([_plain(value) for value in _VALUES(row)])


def values_hash(previous: bytes, values: Iterable[Plain]) -> bytes:
    """The hash of a row whose chained columns have these plain values, and that follows the row with hash `previous`."""
    return hashlib.sha256(previous + _line(values)).digest()


def row_hash(previous: bytes, row: Mapping[str, Any]) -> bytes:
    """The hash of a row that follows the row with hash `previous`."""
    return hashlib.sha256(previous + canonical(row)).digest()


def plain_moment(moment: datetime) -> str:
    """An instant as it is hashed, wherever its clock stood."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def verify_chain(rows: Iterable[Mapping[str, Any]], head: Head | None, *, known: Head | None = None) -> Broken | None:
    """The first bad place among one chain's rows in order of `chain_seq`, or None when all is as it was written.

    Rows carry the chained columns, `log_id`, `previous_hash` and `hash`; `head` is None for a chain without a head.
    `known` is a place that was seen and noted elsewhere before: who rewrites a whole chain with its head can't change it.
    """
    last = Head(chain_seq=0, hash=GENESIS)
    for row in rows:
        if broken := _check(row, last):
            return broken
        last = Head(chain_seq=row["chain_seq"], hash=bytes(row["hash"]))
        if known is not None and last.chain_seq == known.chain_seq and last != known:
            return Broken(known.chain_seq, "rewritten", "its hash was another one when it was noted", row["log_id"])
    return _check_end(last, head) or _check_known(last, known)


def _check(row: Mapping[str, Any], last: Head) -> Broken | None:
    expected = last.chain_seq + 1
    found = row["chain_seq"]
    if found > expected:
        return Broken(expected, "missing", f"rows {expected} to {found - 1} are gone")
    if found < expected:
        return Broken(found, "out of place", f"row {found} comes after row {last.chain_seq}", row["log_id"])
    if bytes(row["previous_hash"]) != last.hash:
        return Broken(found, "unlinked", "it does not continue the row before it", row["log_id"])
    if bytes(row["hash"]) != row_hash(last.hash, row):
        return Broken(found, "changed", "its content is not what was hashed", row["log_id"])
    return None


def _check_end(last: Head, head: Head | None) -> Broken | None:
    if head is None and last.chain_seq:
        return Broken(
            last.chain_seq, "head missing", f"the rows end at {last.chain_seq}, and nothing says that they should"
        )
    end = head or last
    if end.chain_seq > last.chain_seq:
        gone = last.chain_seq + 1
        return Broken(gone, "tail missing", f"the head says {end.chain_seq} rows; from {gone} on they are gone")
    if end.chain_seq < last.chain_seq:
        added = end.chain_seq + 1
        return Broken(
            added, "beyond the head", f"the head says {end.chain_seq} rows; {added} to {last.chain_seq} are more"
        )
    if end != last:
        return Broken(end.chain_seq, "head changed", "its hash is not that of the last row")
    return None


def _check_known(last: Head, known: Head | None) -> Broken | None:
    if known is None or known.chain_seq <= last.chain_seq:
        return None
    gone = last.chain_seq + 1
    return Broken(gone, "tail missing", f"{known.chain_seq} rows were noted before; from {gone} on they are gone")


def _line(values: Iterable[Plain]) -> bytes:
    # ASCII, without spaces, the values in the columns' order: the form that every hash was made of, so it never changes.
    encoded = [_text(value) if type(value) is str else "null" if value is None else str(value) for value in values]
    return f"[{','.join(encoded)}]".encode("ascii")


def _plain(value: Any) -> Plain:
    if type(value) in _AS_THEY_ARE:
        return value  # type: ignore[no-any-return]  # just seen to be one of them
    if isinstance(value, datetime):
        return plain_moment(value)
    if isinstance(value, (bytes, memoryview)):
        return bytes(value).hex()
    return str(value)
