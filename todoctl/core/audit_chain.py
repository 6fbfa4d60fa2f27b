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

Plain = str | int | None
Damage = Literal["changed", "missing", "out of place", "unlinked", "tail missing", "head changed"]


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


def values_hash(previous: bytes, values: Iterable[Plain]) -> bytes:
    """The hash of a row whose chained columns have these plain values, and that follows the row with hash `previous`."""
    # One unambiguous line of JSON, ASCII, without spaces: the form that every hash was made of, so it never changes.
    encoded = [_text(value) if type(value) is str else "null" if value is None else str(value) for value in values]
    return hashlib.sha256(previous + f"[{','.join(encoded)}]".encode("ascii")).digest()


def row_hash(previous: bytes, row: Mapping[str, Any]) -> bytes:
    """The hash of a row that follows the row with hash `previous`; `details` is the stored text, not parsed."""
    return values_hash(previous, [_plain(row[name]) for name in CHAINED_COLUMNS])


def plain_moment(moment: datetime) -> str:
    """An instant as it is hashed, wherever its clock stood."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def verify_chain(rows: Iterable[Mapping[str, Any]], head: Head | None) -> Broken | None:
    """The first bad place among one chain's rows in order of `chain_seq`, or None when all is as it was written.

    Rows carry the chained columns, `log_id`, `previous_hash` and `hash`; `head` is None for a chain without a head.
    """
    last = Head(chain_seq=0, hash=GENESIS)
    for row in rows:
        if broken := _check(row, last):
            return broken
        last = Head(chain_seq=row["chain_seq"], hash=bytes(row["hash"]))
    return _check_end(last, head)


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
    end = head or Head(chain_seq=0, hash=GENESIS)
    if end.chain_seq > last.chain_seq:
        gone = last.chain_seq + 1
        return Broken(gone, "tail missing", f"the head says {end.chain_seq} rows; from {gone} on they are gone")
    if end != last:
        return Broken(
            end.chain_seq, "head changed", f"the head says row {end.chain_seq}, the rows end at {last.chain_seq}"
        )
    return None


def _plain(value: Any) -> Plain:
    if type(value) in _AS_THEY_ARE:
        return value  # type: ignore[no-any-return]  # just seen to be one of them
    if isinstance(value, datetime):
        return plain_moment(value)
    if isinstance(value, (bytes, memoryview)):
        return bytes(value).hex()
    return str(value)
