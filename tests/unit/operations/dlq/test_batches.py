"""What the transactions of a replay do, without a broker: pieces, ends, decisions, and what stops them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import pytest

from todoctl.adapters.kafka.transactions import Send
from todoctl.core.dlq.decisions import Decision, State
from todoctl.core.dlq.letters import digest
from todoctl.core.dlq.plan import Act, Entry
from todoctl.errors import RefusedError
from todoctl.operations.dlq.batches import Batch, GivenUpError, batches

MADE = Decision("replayed", "plan", "me@here", "2026-11-25T12:00:00+00:00")


@dataclass(frozen=True)
class Message:
    """A letter as librdkafka gives it."""

    content: bytes

    def key(self) -> bytes | None:
        return b"k"

    def value(self) -> bytes | None:
        return self.content

    def headers(self) -> list[tuple[str, bytes | None]] | None:
        return None


def decide(action: State) -> Decision:
    """A decision, made now."""
    return replace(MADE, action=action)


def pair(offset: int, act: Act = "replay", *, content: bytes = b"v", to: int = 1) -> tuple[Entry, Message]:
    """An entry about the letter at 0/offset, and the letter."""
    entry = Entry(
        0, offset, digest(b"k", content, ()), act, topic="t", to=to, key=b"k", headers=(("h", b"x"),), count=1
    )
    return entry, Message(content)


def whole(pairs: Iterable[tuple[Entry, Message] | None], *, size: int, first: int | None = None) -> list[Batch]:
    """The batches that are ready to be committed."""
    return [batch for batch in batches(decide, "plan", pairs, size=size, first=first or size) if batch.is_whole]


def taken(batch: Batch) -> list[Send]:
    """All records of a whole batch."""
    return list(batch.sends())


def test_the_first_batch_has_its_own_size() -> None:
    """Ten letters, two in the first batch, three in each other one; the last has the rest."""
    found = whole(map(pair, range(10)), size=3, first=2)
    assert [batch.replayed for batch in found] == [2, 3, 3, 2]
    assert [len(taken(batch)) for batch in found] == [2, 3, 3, 2]
    assert [batch.decided[0][2] for batch in found] == [[0, 1], [2, 3, 4], [5, 6, 7], [8, 9]]


def test_a_record_goes_as_the_plan_says_and_carries_its_mark() -> None:
    """Topic, value, key, partition, headers."""
    (batch,) = whole([pair(7)], size=3)
    assert taken(batch) == [("t", b"v", b"k", 1, [("h", b"x"), ("todoctl-replay", b"plan/0/7/1")])]
    assert (batch.replayed, batch.bytes) == (1, 1)


def test_letters_share_a_decision_where_all_of_it_is_the_same() -> None:
    """Parked, covered, and re-published to two partitions: four decisions about six letters."""
    acts: list[tuple[Act, int]] = [("replay", 1), ("park", 1), ("replay", 2), ("cover", 1), ("replay", 1), ("park", 1)]
    (batch,) = whole([pair(number, act, to=to) for number, (act, to) in enumerate(acts)], size=10)
    assert (batch.replayed, batch.covered, batch.parked, len(taken(batch))) == (3, 1, 2, 3)
    sent = replace(MADE, topic="t", count=1)
    assert batch.decided == [
        (0, replace(sent, partition=1), [0, 4]),
        (0, replace(MADE, action="parked"), [1, 5]),
        (0, replace(sent, partition=2), [2]),
        (0, replace(sent, count=0), [3]),
    ]


def test_a_batch_of_large_records_ends_early() -> None:
    """Two records of 20 MiB are more than a transaction may hold."""
    large = bytes(20 * 2**20)
    assert [batch.replayed for batch in whole((pair(n, content=large) for n in range(3)), size=100)] == [2, 1]


def test_a_batch_of_letters_that_are_slow_to_come_ends_early() -> None:
    """While a letter is looked for the age of what was begun counts; without a letter there is nothing to end."""
    begun: list[Batch] = []

    def slow() -> Iterator[tuple[Entry, Message] | None]:
        yield from map(pair, range(600))
        yield None
        begun[0].since -= 60
        yield from (pair(600), None, None, pair(601))

    seen = []
    for batch in batches(decide, "plan", slow(), size=10_000, first=10_000):
        begun.append(batch)
        if batch.is_whole:
            seen.append(batch.replayed)
    assert seen == [601, 1]


def test_records_are_handed_over_before_their_batch_is_whole() -> None:
    """Of two thousand letters pieces are ready while the rest isn't, and no decision is told before the last one."""
    steps = batches(decide, "plan", map(pair, range(2000)), size=2000, first=2000)
    batch = next(steps)
    sends = batch.sends()
    assert not batch.is_whole
    assert next(sends)[4][-1] == ("todoctl-replay", b"plan/0/0/1")
    assert not batch.decided
    assert sum(1 for _ in steps) == 3
    assert (batch.is_whole, sum(1 for _ in sends), batch.decided[0][2]) == (True, 1999, list(range(2000)))


def test_what_is_given_up_is_never_whole() -> None:
    """Who waits for the rest hears that it won't come."""
    batch = Batch()
    with ThreadPoolExecutor(1) as worker:
        waiting = worker.submit(taken, batch)
        batch.give([("t", b"v", b"k", 1, [])])
        batch.give_up()
        with pytest.raises(GivenUpError):
            waiting.result(60)


def test_a_letter_that_is_not_the_reviewed_one_ends_it_all() -> None:
    """Its batch never becomes whole."""
    entry, _ = pair(3)
    steps = batches(decide, "plan", [*map(pair, range(3)), (entry, Message(b"w"))], size=10, first=10)
    with pytest.raises(RefusedError, match="the letter 0/3 is not the one"):
        next(steps)
