"""What consumers did with re-published letters: processed, dead again, or nobody knows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from todoctl.core.dlq.foreign import Header
from todoctl.core.dlq.letters import MARK

Verdict = Literal["processed", "dead again", "unknown"]
VERDICTS: tuple[Verdict, ...] = ("processed", "dead again", "unknown")

# The consumer of a letter that doesn't say whose it is: Dapr's own.
NOBODY = "somebody"

Spot = tuple[str, int, int]  # topic, partition, offset


@dataclass(frozen=True, slots=True)
class Republished:
    """One record that a plan re-published: for which letter, and where it lies now."""

    letter: tuple[int, int]
    spot: Spot


def republished(plan: str, spot: Spot, headers: Sequence[Header]) -> Republished | None:
    """What a record's mark says; None for a record that this plan did not re-publish."""
    for name, value in headers:
        if name == MARK and value and value.startswith(f"{plan}/".encode()):
            parts = value.split(b"/")
            is_mark = len(parts) == 4 and parts[1].isdigit() and parts[2].isdigit()
            return Republished((int(parts[1]), int(parts[2])), spot) if is_mark else None
    return None


@dataclass
class Outcomes:
    """Judges re-published records one by one and counts by consumer.

    `committed` gives for each group and (topic, partition) the offset that it reads next, `dead` the spots whose
    records died again → the consumers that said so, `consumers` the groups of each topic.
    """

    consumers: Mapping[str, tuple[str, ...]]
    committed: Mapping[str, Mapping[tuple[str, int], int]]
    dead: Mapping[Spot, frozenset[str]]
    counts: dict[str, Counter[Verdict]] = field(default_factory=dict)
    records: int = 0

    def judge(self, record: Republished) -> dict[str, Verdict]:
        """Consumer → what it did with the record."""
        topic, partition, offset = record.spot
        died = self.dead.get(record.spot, frozenset())
        found: dict[str, Verdict] = {}
        for consumer in self.consumers.get(topic, ()):
            # A consumer that committed past a record and wrote no letter about it has processed it.
            is_past = self.committed.get(consumer, {}).get((topic, partition), -1) > offset
            found[consumer] = "dead again" if consumer in died else "processed" if is_past else "unknown"
        if NOBODY in died:
            found[NOBODY] = "dead again"
        for consumer, verdict in found.items():
            self.counts.setdefault(consumer, Counter())[verdict] += 1
        self.records += 1
        return found

    @property
    def died(self) -> int:
        """How often a consumer let a record die again."""
        return sum(counts["dead again"] for counts in self.counts.values())

    @property
    def unknown(self) -> int:
        """How often nobody knows."""
        return sum(counts["unknown"] for counts in self.counts.values())
