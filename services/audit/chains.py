"""The statements behind an append: heads and known events, rows by COPY, the heads moved on; all in one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, cast

import psycopg

from services.audit.entries import Entry
from todoctl.core.audit_chain import CHAINED_COLUMNS, GENESIS, Head, Plain, plain_moment, values_hash

Chain = tuple[str, int]
Link = psycopg.AsyncConnection[Any]

COLUMNS = (*CHAINED_COLUMNS, "previous_hash", "hash")
COPY = f"COPY audit.audit_logs ({', '.join(COLUMNS)}) FROM STDIN"

# In one order, or two processes could wait for each other.
_LOCK_HEADS = """
SELECT topic, partition, chain_seq, hash FROM audit.chain_heads
WHERE (topic, partition) IN (SELECT * FROM unnest(%s::text[], %s::integer[])) ORDER BY topic, partition FOR UPDATE
"""
_NEW_HEADS = """
INSERT INTO audit.chain_heads (topic, partition, chain_seq, hash)
SELECT topic, partition, 0, %s FROM unnest(%s::text[], %s::integer[]) AS missing (topic, partition) ON CONFLICT DO NOTHING
"""
_MOVE_HEADS = """
UPDATE audit.chain_heads AS head SET chain_seq = moved.chain_seq, hash = moved.hash
FROM unnest(%s::text[], %s::integer[], %s::bigint[], %s::bytea[]) AS moved (topic, partition, chain_seq, hash)
WHERE (head.topic, head.partition) = (moved.topic, moved.partition)
"""
# Whether a plan is made for these ids or for any, each is looked up in the index of the two columns.
_KNOWN = "SELECT event_id FROM audit.audit_logs WHERE topic = %s AND event_id = ANY(%s::uuid[])"

# The columns whose text somebody outside chose; in the others nothing ever has to be escaped for COPY.
_FREE_TEXTS = [CHAINED_COLUMNS.index(name) for name in ("record_key", "correlation_id", "details")]
_RAW = CHAINED_COLUMNS.index("raw")
# What is sent at a time, in characters.
_BLOCK = 256 * 1024


async def extend(link: Link, entries: Mapping[Chain, Sequence[Entry]], now: datetime) -> list[Entry]:
    """Append to each chain those of its entries that are not stored yet, in their order; gives them.

    Has to be called within a transaction, which keeps the chains locked to its end.
    """
    chains = sorted(entries)
    heads, known = await _locked(link, chains, entries)
    if missing := [chain for chain in chains if chain not in heads]:
        await link.execute(_NEW_HEADS, [GENESIS, *_columns(missing)])
        heads, known = await _locked(link, chains, entries)
    fresh = {chain: _fresh(entries[chain], known[chain[0]]) for chain in chains}
    writing = _Writing(heads, fresh, now)
    if stored := [entry for chain in chains for entry in fresh[chain]]:
        async with link.cursor() as cursor, cursor.copy(COPY) as copy:
            for block in writing.blocks():
                await copy.write(block)
        await _move(link, writing.ends)
    return stored


class _Writing:
    """The new rows as text for COPY; `ends` says where each chain ends with those that were written."""

    def __init__(self, heads: Mapping[Chain, Head], fresh: Mapping[Chain, Sequence[Entry]], now: datetime) -> None:
        self._heads, self._fresh, self._recorded_at = heads, fresh, plain_moment(now)
        self.ends: dict[Chain, Head] = {}

    def blocks(self) -> Iterator[bytes]:
        """All rows, a good many at a time."""
        lines, size = [], 0
        for chain, entries in self._fresh.items():
            for line in self._lines(chain, entries):
                lines.append(line)
                size += len(line)
                if size > _BLOCK:
                    yield "".join(lines).encode()
                    lines, size = [], 0
        yield "".join(lines).encode()

    def _lines(self, chain: Chain, entries: Sequence[Entry]) -> Iterator[str]:
        head = self._heads[chain]
        last = head.hash
        for sequence, entry in enumerate(entries, start=head.chain_seq + 1):
            values = entry.plain(chain_seq=sequence, recorded_at=self._recorded_at)
            digest = values_hash(last, values)
            yield _line(values, last, digest)
            last = digest
        if entries:
            self.ends[chain] = Head(head.chain_seq + len(entries), last)


def _line(values: list[Plain], previous: bytes, digest: bytes) -> str:
    """A row in COPY's text format: what was hashed is what is stored."""
    for column in _FREE_TEXTS:
        if (text := cast("str | None", values[column])) is not None:
            values[column] = text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    if values[_RAW] is not None:
        values[_RAW] = f"\\\\x{values[_RAW]}"
    cells = [value if type(value) is str else "\\N" if value is None else str(value) for value in values]
    return "\t".join(cells) + f"\t\\\\x{previous.hex()}\t\\\\x{digest.hex()}\n"


async def _locked(
    link: Link, chains: Sequence[Chain], entries: Mapping[Chain, Sequence[Entry]]
) -> tuple[dict[Chain, Head], dict[str, set[Any]]]:
    """The chains' heads, locked, and by topic those of the entries' ids that are stored already."""
    # One way to the server and back; each statement still sees what was committed before it began, so the second one
    # what another process stored while the first one waited for its locks.
    ids: dict[str, list[str]] = {}
    for topic, partition in chains:
        # In hexadecimal and as text: the driver takes longer to write down UUIDs than the server to look them up.
        ids.setdefault(topic, []).extend([f"{entry.event_id.int:032x}" for entry in entries[topic, partition]])
    async with link.pipeline():
        found = await link.execute(_LOCK_HEADS, _columns(chains))
        stored = {topic: await link.execute(_KNOWN, [topic, f"{{{','.join(some)}}}"]) for topic, some in ids.items()}
    heads = {
        (topic, partition): Head(sequence, bytes(last)) for topic, partition, sequence, last in await found.fetchall()
    }
    return heads, {topic: {row[0] for row in await known.fetchall()} for topic, known in stored.items()}


async def _move(link: Link, ends: Mapping[Chain, Head]) -> None:
    sequences = [head.chain_seq for head in ends.values()]
    await link.execute(_MOVE_HEADS, [*_columns(ends), sequences, [head.hash for head in ends.values()]])


def _fresh(entries: Sequence[Entry], known: set[Any]) -> list[Entry]:
    """The entries that are not in `known`, which then has them too."""
    fresh = []
    for entry in entries:
        if entry.event_id not in known:
            known.add(entry.event_id)
            fresh.append(entry)
    return fresh


def _columns(chains: Iterable[Chain]) -> list[list[Any]]:
    return [[topic for topic, _ in chains], [partition for _, partition in chains]]
