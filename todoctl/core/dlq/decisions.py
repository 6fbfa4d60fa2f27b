"""What operators decided about dead letters, as it lies on the compacted topic, and who works on them now."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from itertools import compress
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import to_json

DECISIONS = "dlq-decisions"

# Under this key lies who holds the dead letters, or held them last.
OPERATOR_KEY = b"operator"

State = Literal["pending", "replayed", "parked", "purged"]
STATES: tuple[State, ...] = ("pending", "replayed", "parked", "purged")
_NUMBERS = {state: number for number, state in enumerate(STATES)}

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
    """What was done with letters, by whom, when and by which plan; where their records went when they were re-published."""

    action: State
    plan: str
    by: str
    at: str
    topic: str | None = None
    partition: int | None = None
    count: int = 0
    v: Literal[1] = 1


@dataclass(frozen=True, slots=True)
class Written(Decision):
    """A decision as it lies on the topic; without `offsets` it is about the one letter that its key names."""

    offsets: tuple[Annotated[int, Field(ge=0)], ...] = ()

    @property
    def decision(self) -> Decision:
        """What it says about each of its letters."""
        return Decision(self.action, self.plan, self.by, self.at, self.topic, self.partition, self.count)


@dataclass(frozen=True, slots=True)
class _Place:
    """What a key names: letters of one partition, from the first to the last."""

    topic_id: str
    partition: int
    first: int
    last: int


# Letters of one partition that share what was decided: the partition, the decision, the offsets.
Decided = tuple[int, Decision, list[int]]


def decision_records(cluster: str, topic_id: str, decided: Iterable[Decided]) -> Iterator[tuple[bytes, bytes]]:
    """Key and value of the records that hold decisions about letters.

    Letters that share a decision share its record: most of a replay's work would otherwise be records about it.
    """
    for partition, decision, offsets in decided:
        told = asdict(decision)
        places = sorted(offsets)
        if len(places) > 1:
            told["offsets"] = places
        yield decision_key(cluster, topic_id, partition, places), to_json(told)


def decision_key(cluster: str, topic_id: str, partition: int, offsets: Sequence[int]) -> bytes:
    """The record's key: the letters' places, in ascending order, which a recreated topic doesn't share.

    A digest tells sets of letters apart, so that compaction lets a decision go for a newer one about the same letters
    only.
    """
    name = f"{cluster}/{topic_id}/{partition}/{offsets[0]}"
    if len(offsets) > 1:
        name += f"-{offsets[-1]}-{blake2b(to_json(offsets), digest_size=8).hexdigest()}"
    return name.encode()


def read_decision(value: bytes) -> Written | None:
    """The decision in a record's value; None for what is none."""
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


_DECISION = TypeAdapter(Written)
_OPERATOR = TypeAdapter(Operator)


@dataclass
class PlanTrace:
    """What a plan has done so far: since when, and how many letters by what was done."""

    since: str
    counts: dict[State, int] = field(default_factory=dict)


class Ledger:
    """All decisions about the letters of one topic, a byte for each letter; filled record by record.

    `starts` gives the first offset that each partition still has, `topic_ids` every topic id of the cluster: a
    decision about letters that are all gone is stale, and its key waits in `stale` for its tombstone. Of the letters in
    `watched`, by partition and offset, the whole decision is kept in `found`.
    """

    def __init__(
        self,
        cluster: str,
        topic_id: str,
        *,
        starts: Mapping[int, int],
        topic_ids: Iterable[str],
        watched: frozenset[tuple[int, int]] = frozenset(),
    ) -> None:
        self.found: dict[tuple[int, int], Decision] = {}
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
        decision = read_decision(value) if value else None
        if self._is_gone(place):
            if decision:
                self.stale[key] = None
            else:
                self.stale.pop(key, None)
        elif place.topic_id == self._topic_id:
            self._note(place, decision)

    def _note(self, place: _Place, decision: Written | None) -> None:
        offsets = (decision and decision.offsets) or (place.first,)
        for offset in offsets:
            self.set(place.partition, offset, decision.action if decision else "pending")
            if decision and (place.partition, offset) in self._watched:
                self.found[place.partition, offset] = decision.decision
        if decision:
            trace = self.plans.setdefault(decision.plan, PlanTrace(decision.at))
            trace.since = min(trace.since, decision.at)
            trace.counts[decision.action] = trace.counts.get(decision.action, 0) + len(offsets)

    def state(self, partition: int, offset: int) -> State:
        """What was decided about the letter."""
        chunk = self._states.get((partition, offset // _CHUNK))
        return STATES[chunk[offset % _CHUNK]] if chunk else "pending"

    def set(self, partition: int, offset: int, state: State) -> None:
        """Note what was decided about the letter."""
        self._chunk(partition, offset)[offset % _CHUNK] = _NUMBERS[state]

    def claim(self, partition: int, offsets: Sequence[int], states: Container[State], state: State) -> list[bool]:
        """Note what is decided about those of the letters, by ascending offset, that are in one of the states.

        Gives for each of them whether it was.
        """
        claimed: list[bool] = []
        while len(claimed) < len(offsets):
            first = len(claimed)
            chunk, start = self._chunk(partition, offsets[first]), offsets[first] // _CHUNK * _CHUNK
            places = [offset - start for offset in offsets[first : bisect_left(offsets, start + _CHUNK, first)]]
            found = [chunk[place] for place in places]
            free = {number for number in set(found) if STATES[number] in states}
            claimed += [number in free for number in found]
            for place in compress(places, claimed[first:]):
                chunk[place] = _NUMBERS[state]
        return claimed

    def _chunk(self, partition: int, offset: int) -> bytearray:
        place = (partition, offset // _CHUNK)
        if (found := self._states.get(place)) is None:
            found = self._states[place] = bytearray(_CHUNK)
        return found

    def _place(self, key: bytes | None) -> _Place | None:
        parts = (key or b"").split(b"/")
        if len(parts) != 4 or parts[0] != self._cluster.encode():
            return None
        first, *rest = parts[3].split(b"-")
        last = rest[0] if len(rest) == 2 else first
        if len(rest) not in {0, 2} or not (parts[2].isdigit() and first.isdigit() and last.isdigit()):
            return None
        return _Place(parts[1].decode("utf-8", "replace"), int(parts[2]), int(first), int(last))

    def _is_gone(self, place: _Place) -> bool:
        if place.topic_id == self._topic_id:
            return place.last < self._starts.get(place.partition, 0)
        return place.topic_id not in self._topic_ids
