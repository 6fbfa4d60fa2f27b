"""The audit log's tables as they lie in the database, for who checks them rather than believes them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from todoctl.core.audit_chain import CHAINED_COLUMNS, Head

# Rows fetched at once: enough to keep the network out of it, little enough to keep memory flat.
_AT_ONCE = 5_000

# Jumps from chain to chain through the unique index instead of reading every row; the heads may know more chains.
_CHAINS = """
WITH RECURSIVE found AS (
    (SELECT topic, partition FROM audit.audit_logs ORDER BY topic, partition LIMIT 1)
    UNION ALL
    SELECT after.topic, after.partition FROM found, LATERAL (
        SELECT topic, partition FROM audit.audit_logs
        WHERE (topic, partition) > (found.topic, found.partition) ORDER BY topic, partition LIMIT 1
    ) AS after
)
SELECT topic, partition FROM found UNION SELECT topic, partition FROM audit.chain_heads ORDER BY topic, partition
"""
_HEAD = "SELECT chain_seq, hash FROM audit.chain_heads WHERE topic = %s AND partition = %s"

# Text as the hash was made of it; a moment that Python could not hold was not written by us and stays as it is.
_MOMENT = """
CASE WHEN {0} >= '0001-01-01 00:00+00' AND {0} < '9999-12-31 00:00+00'
THEN to_char({0} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"') ELSE {0}::text END
"""
_AS_HASHED = {
    "event_id": "event_id::text",
    "timestamp": _MOMENT.format('"timestamp"'),
    "recorded_at": _MOMENT.format("recorded_at"),
    "details": "details::text",
    "raw": "encode(raw, 'hex')",
}
_COLUMNS = (
    "log_id",
    *(f'{_AS_HASHED[name]} AS "{name}"' if name in _AS_HASHED else name for name in CHAINED_COLUMNS),
    # A superuser can take NOT NULL away.
    "coalesce(previous_hash, '') AS previous_hash",
    "coalesce(hash, '') AS hash",
)
_ROWS = f"SELECT {', '.join(_COLUMNS)} FROM audit.audit_logs WHERE topic = %s AND partition = %s ORDER BY chain_seq"  # noqa: S608 - columns of ours


@dataclass(frozen=True, order=True)
class Chain:
    """The log of one partition of one topic; partition -1 has the records that came without a place."""

    topic: str
    partition: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}"


def chains(link: Any) -> list[Chain]:
    """Every chain that has rows or a head."""
    return [Chain(*row) for row in link.execute(_CHAINS)]


def head(link: Any, chain: Chain) -> Head | None:
    """Where the chain ends by its own account, or None where it has no head."""
    found = link.execute(_HEAD, (chain.topic, chain.partition)).fetchone()
    return None if found is None else Head(found[0], bytes(found[1]))


def rows(link: Any, chain: Chain) -> Iterator[dict[str, Any]]:
    """The chain's rows in order, with the values as their hashes were made of them; a few thousand in memory."""
    from psycopg.rows import dict_row

    with link.cursor(name="todoctl_audit", row_factory=dict_row) as cursor:
        cursor.itersize = _AT_ONCE
        # By the index on the chain's place: a sort of millions of rows would come before the first one.
        yield from cursor.execute(_ROWS, (chain.topic, chain.partition))
