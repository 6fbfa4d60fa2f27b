"""What the transactions of a replay do, without a broker: pieces, ends, decisions, and what stops them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from io import BytesIO

import pytest
from confluent_kafka import Message

from todoctl.adapters.kafka.transactions import Sends
from todoctl.core.dlq.decisions import Decision, State
from todoctl.core.dlq.letters import digest
from todoctl.core.dlq.plan import Act, Entry
from todoctl.core.dlq.plan_line import pieces
from todoctl.errors import RefusedError
from todoctl.operations.dlq.batches import Batch, GivenUpError, batches
from todoctl.operations.dlq.planned import Letters

MADE = Decision("replayed", "plan", "me@here", "2026-11-25T12:00:00+00:00")


def decide(action: State) -> Decision:
    """A decision, made now."""
    return replace(MADE, action=action)


def letter(offset: int, act: Act = "replay", *, content: bytes = b"v", to: int = 1) -> tuple[Entry, Message]:
    """An entry about the letter at 0/offset, and the letter."""
    entry = Entry(
        0,
        offset,
        digest(b"k", content, ()),
        act,
        topic="t",
        to=to,
        key=b"k",
        headers=(("h", b"x"),),
        count=1,
        same_as="0/0",
    )
    return entry, Message(key=b"k", value=content)


def part(*letters: tuple[Entry, Message]) -> Letters:
    """Letters that were read at once, with their lines of the plan."""
    (piece,) = pieces(BytesIO(b"".join(entry.encode() for entry, _ in letters)))
    return piece, [message for _, message in letters]


def some(start: int, stop: int) -> Letters:
    """Letters to be re-published."""
    return part(*map(letter, range(start, stop)))


def whole(parts: Iterable[Letters | None], *, size: int, first: int | None = None) -> list[Batch]:
    """The batches that are ready to be committed."""
    return [batch for batch in batches(decide, "plan", parts, size=size, first=first or size) if batch.is_whole]


def taken(batch: Batch) -> list[tuple[object, ...]]:
    """All records of a whole batch: topic, value, key, partition, headers."""
    return [record for sends in batch.pieces() for record in rows(sends)]


def rows(sends: Sends) -> list[tuple[object, ...]]:
    """Record by record."""
    return list(zip(sends.topics, sends.values, sends.keys, sends.partitions, sends.headers, strict=True))


@pytest.mark.parametrize(
    "parts", [[some(0, 10)], [some(0, 3), None, some(3, 4), some(4, 10)], [some(n, n + 1) for n in range(10)]]
)
def test_the_first_batch_has_its_own_size(parts: list[Letters | None]) -> None:
    """Ten letters, two in the first batch, three in each other one; the last has the rest, however they came."""
    found = whole(parts, size=3, first=2)
    assert [batch.replayed for batch in found] == [2, 3, 3, 2]
    assert [len(taken(batch)) for batch in found] == [2, 3, 3, 2]
    assert [batch.decided[0][2] for batch in found] == [[0, 1], [2, 3, 4], [5, 6, 7], [8, 9]]


def test_a_record_goes_as_the_plan_says_and_carries_its_mark() -> None:
    """Topic, value, key, partition, headers."""
    (batch,) = whole([some(7, 8)], size=3)
    assert taken(batch) == [("t", b"v", b"k", 1, [("h", b"x"), ("todoctl-replay", b"plan/0/7/1")])]
    assert (batch.replayed, batch.bytes) == (1, 1)


def test_a_value_is_the_plans_or_the_letters_or_inside_of_it() -> None:
    """And none where the plan or the letter says so."""
    plain, edited, wrapped, both, gone = (letter(n, content=b'{"data": {"value": "YWJj"}}') for n in range(5))
    edited[0].has_value, edited[0].value = True, b"\xff"
    wrapped[0].is_wrapped = True
    both[0].has_value, both[0].is_wrapped, both[0].value = True, True, b"whole"
    gone[0].has_value = True
    (batch,) = whole([part(plain, edited, wrapped, both, gone)], size=9)
    assert [record[1] for record in taken(batch)] == [plain[1].value(), b"\xff", b"abc", b"whole", None]
    assert batch.bytes == len(plain[1].value()) + 1 + 3 + 5


def test_letters_share_a_decision_where_all_of_it_is_the_same() -> None:
    """Parked, covered, re-published to two partitions and to where the key belongs: five decisions about seven letters."""
    acts: list[tuple[Act, int]] = [("replay", 1), ("park", 1), ("replay", 2), ("cover", 1), ("replay", 1), ("park", 1)]
    letters = [letter(number, act, to=to) for number, (act, to) in enumerate(acts)]
    last = letter(6)
    last[0].to = None
    (batch,) = whole([part(*letters, last)], size=10)
    assert (batch.replayed, batch.covered, batch.parked, len(taken(batch))) == (4, 1, 2, 4)
    sent = replace(MADE, topic="t", count=1)
    assert sorted(batch.decided, key=lambda told: told[2]) == [
        (0, replace(sent, partition=1), [0, 4]),
        (0, replace(MADE, action="parked"), [1, 5]),
        (0, replace(sent, partition=2), [2]),
        (0, replace(sent, count=0), [3]),
        (0, sent, [6]),
    ]


def test_a_batch_of_large_records_ends_early() -> None:
    """Two records of 20 MiB are more than a transaction may hold."""
    large = bytes(20 * 2**20)
    parts = (part(letter(number, content=large)) for number in range(3))
    assert [batch.replayed for batch in whole(parts, size=100)] == [2, 1]


def test_a_batch_of_letters_that_are_slow_to_come_ends_early() -> None:
    """While letters are looked for the age of what was begun counts; without a letter there is nothing to end."""
    begun: list[Batch] = []

    def slow() -> Iterator[Letters | None]:
        yield some(0, 600)
        yield None
        begun[0].since -= 60
        yield from (some(600, 601), None, None, some(601, 602))

    seen = []
    for batch in batches(decide, "plan", slow(), size=10_000, first=10_000):
        begun.append(batch)
        if batch.is_whole:
            seen.append(batch.replayed)
    assert seen == [601, 1]


def test_records_are_handed_over_before_their_batch_is_whole() -> None:
    """Of two thousand letters pieces are ready while the rest isn't, and no decision is told before the last one."""
    parts = [some(start, start + 100) for start in range(0, 2000, 100)]
    steps = batches(decide, "plan", parts, size=2000, first=2000)
    batch = next(steps)
    sent = batch.pieces()
    assert not batch.is_whole
    first = rows(next(sent))
    assert (len(first), first[0][4]) == (500, [("h", b"x"), ("todoctl-replay", b"plan/0/0/1")])
    assert not batch.decided
    assert sum(1 for _ in steps) == 3
    assert (batch.is_whole, sum(map(len, sent)), batch.decided[0][2]) == (True, 1500, list(range(2000)))


def test_what_is_given_up_is_never_whole() -> None:
    """Who waits for the rest hears that it won't come."""
    batch = Batch()
    with ThreadPoolExecutor(1) as worker:
        waiting = worker.submit(taken, batch)
        batch.give(Sends(["t"], [b"v"], [b"k"], [1], [[]]))
        batch.give_up()
        with pytest.raises(GivenUpError):
            waiting.result(60)


@pytest.mark.parametrize("act", ["replay", "cover", "park"])
def test_a_letter_that_is_not_the_reviewed_one_ends_it_all(act: Act) -> None:
    """Its batch never becomes whole, whatever is done with it and wherever it stands."""
    entry, _ = letter(3, act)
    steps = batches(
        decide,
        "plan",
        [part(*map(letter, range(3)), (entry, Message(key=b"k", value=b"w")), letter(4))],
        size=10,
        first=10,
    )
    with pytest.raises(RefusedError, match="the letter 0/3 is not the one"):
        next(steps)
