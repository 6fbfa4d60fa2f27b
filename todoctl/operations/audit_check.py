"""Walks the audit log's hash chains and says of each one whether it is as it was written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from todoctl.adapters import audit_log, postgres
from todoctl.adapters.audit_log import Chain
from todoctl.core.audit_chain import Broken, Head, verify_chain


@dataclass(frozen=True)
class ChainVerdict:
    """One chain: how many rows were read, where it ends by its own account, and its first bad place if it has one."""

    chain: Chain
    rows: int
    head: Head | None
    broken: Broken | None

    def words(self) -> str:
        """Where the chain breaks and how, in one line."""
        if self.broken is None:
            return f"{self.chain} is whole"
        log_id = "" if self.broken.log_id is None else f" (log_id {self.broken.log_id})"
        return f"{self.chain} row {self.broken.chain_seq}{log_id} {self.broken.damage}: {self.broken.detail}"

    def document(self) -> dict[str, object]:
        """The verdict as it is written for programs, and as a later check reads it."""
        broken = self.broken
        return {
            "topic": self.chain.topic,
            "partition": self.chain.partition,
            "rows": self.rows,
            "head": self.head and {"chain_seq": self.head.chain_seq, "hash": self.head.hash.hex()},
            "broken": broken
            and {
                "chain_seq": broken.chain_seq,
                "damage": broken.damage,
                "detail": broken.detail,
                "log_id": broken.log_id,
            },
        }


def examine(url: str, known: Mapping[Chain, Head]) -> Iterator[ChainVerdict]:
    """Walk every chain, all as they were at one moment, and those that `known` says there were; yields each verdict.

    A chain is read up to its first bad row.

    Raises:
        PostgresError: the log could not be read.
    """
    with postgres.snapshot(url) as link:
        for chain in sorted({*audit_log.chains(link), *known}):
            head, counted = audit_log.head(link, chain), _Counted(audit_log.rows(link, chain))
            broken = verify_chain(counted, head, known=known.get(chain))
            yield ChainVerdict(chain, counted.count, head, broken)


def known_heads(document: Any) -> dict[Chain, Head]:
    """The heads that an earlier run's document notes.

    Raises:
        ValueError: it is not such a document.
    """
    try:
        noted = [(Chain(str(row["topic"]), int(row["partition"])), row["head"]) for row in document["chains"]]
        return {chain: Head(int(head["chain_seq"]), bytes.fromhex(head["hash"])) for chain, head in noted if head}
    except (KeyError, TypeError) as error:
        raise ValueError(f"it lacks {error}") from error


class _Counted:
    """Rows that are counted as they go by."""

    def __init__(self, rows: Iterator[dict[str, Any]]) -> None:
        self._rows, self.count = rows, 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for row in self._rows:
            self.count += 1
            yield row
