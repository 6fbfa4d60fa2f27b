"""What operators decided about dead letters, as it lies on the compacted topic, and who works on them now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from typing import Literal

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

DECISIONS = "dlq-decisions"

# Under this key lies who holds the dead letters, or held them last.
OPERATOR_KEY = b"operator"

State = Literal["pending", "replayed", "parked", "purged"]
STATES: tuple[State, ...] = ("pending", "replayed", "parked", "purged")

_CHUNK = 4096


@dataclass(frozen=True, slots=True)
class Operator:
    """Who works on the dead letters: person, machine, process and its start, with what and since when.

    `session` is unique; times are ISO 8601 in UTC; `beat` is the last sign of life, `is_done` says that it ended.
    """

    session: str
    user: str
    host: str
    pid: int
    process_started: str
    command: str
    plan: str
    since: str
    beat: str
    is_done: bool = False
    v: Literal[1] = 1

    @property
    def name(self) -> str:
        """Who, where, with what, since when."""
        return f"{self.user}@{self.host} (pid {self.pid}, {self.command} since {self.since})"

    def encode(self) -> bytes:
        """The record's value."""
        return to_json(asdict(self))


@dataclass(frozen=True, slots=True)
class Decision:
    """What was done with one letter, by whom, when and by which plan; where its record went when it was re-published."""

    action: State
    plan: str
    by: str
    at: str
    topic: str | None = None
    partition: int | None = None
    count: int = 0
    v: Literal[1] = 1

    def encode(self) -> bytes:
        """The record's value."""
        return to_json(asdict(self))


def decision_key(cluster: str, topic_id: str, partition: int, offset: int) -> bytes:
    """The record's key: a letter's place, which a recreated topic doesn't share."""
    return f"{cluster}/{topic_id}/{partition}/{offset}".encode()


@lru_cache(maxsize=1024)
def read_decision(value: bytes) -> Decision | None:
    """The decision in a record's value; None for what is none. Letters of a batch share their value."""
    try:
        return _DECISION.validate_json(value)
    except ValidationError:
        return None


def read_operator(value: bytes) -> Operator | None:
    """The operator in a record's value; None for what is none."""
    try:
        return _OPERATOR.validate_json(value)
    except ValidationError:
        return None


_DECISION = TypeAdapter(Decision)
_OPERATOR = TypeAdapter(Operator)


@dataclass
class PlanTrace:
    """What a plan has done so far: since when, and how many letters by what was done."""

    since: str
    counts: dict[State, int] = field(default_factory=dict)


class Ledger:
    """All decisions about the letters of one topic, a byte for each letter; filled record by record.

    `starts` gives the first offset that each partition still has, `topic_ids` every topic id of the cluster: a
    decision about a letter that is gone is stale, and its key waits in `stale` for its tombstone. Of the keys in
    `watched` the whole decision is kept in `found`.
    """

    def __init__(
        self,
        cluster: str,
        topic_id: str,
        *,
        starts: Mapping[int, int],
        topic_ids: Iterable[str],
        watched: frozenset[bytes] = frozenset(),
    ) -> None:
        self.found: dict[bytes, Decision] = {}
        self.operator: Operator | None = None
        self.plans: dict[str, PlanTrace] = {}
        self.stale: dict[bytes, None] = {}
        self._cluster, self._topic_id = cluster, topic_id
        self._starts, self._topic_ids = starts, frozenset(topic_ids)
        self._watched = watched
        self._states: dict[tuple[int, int], bytearray] = {}

    def take(self, key: bytes | None, value: bytes | None) -> None:
        """Learn one record of the decisions topic; what is none of ours is let pass."""
        if key == OPERATOR_KEY:
            self.operator = read_operator(value) if value else None
            return
        place = self._place(key)
        if key is None or place is None:
            return
        topic_id, partition, offset = place
        decision = read_decision(value) if value else None
        if decision and key in self._watched:
            self.found[key] = decision
        if self._is_gone(topic_id, partition, offset):
            if decision:
                self.stale[key] = None
            else:
                self.stale.pop(key, None)
        elif topic_id == self._topic_id:
            self.set(partition, offset, decision.action if decision else "pending")
            self._trace(decision)

    def state(self, partition: int, offset: int) -> State:
        """What was decided about the letter."""
        chunk = self._states.get((partition, offset // _CHUNK))
        return STATES[chunk[offset % _CHUNK]] if chunk else "pending"

    def set(self, partition: int, offset: int, state: State) -> None:
        """Note what was decided about the letter."""
        chunk = self._states.setdefault((partition, offset // _CHUNK), bytearray(_CHUNK))
        chunk[offset % _CHUNK] = STATES.index(state)

    def _trace(self, decision: Decision | None) -> None:
        if decision:
            trace = self.plans.setdefault(decision.plan, PlanTrace(decision.at))
            trace.since = min(trace.since, decision.at)
            trace.counts[decision.action] = trace.counts.get(decision.action, 0) + 1

    def _place(self, key: bytes | None) -> tuple[str, int, int] | None:
        parts = (key or b"").split(b"/")
        if len(parts) != 4 or parts[0] != self._cluster.encode() or not (parts[2].isdigit() and parts[3].isdigit()):
            return None
        return parts[1].decode("utf-8", "replace"), int(parts[2]), int(parts[3])

    def _is_gone(self, topic_id: str, partition: int, offset: int) -> bool:
        if topic_id == self._topic_id:
            return offset < self._starts.get(partition, 0)
        return topic_id not in self._topic_ids
