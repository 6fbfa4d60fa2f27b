"""Decisions: what lies on the compacted topic, and what it says about each letter."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from todoctl.core.dlq.decisions import (
    OPERATOR_KEY,
    Decision,
    Ledger,
    Operator,
    decision_key,
    decision_records,
    read_decision,
    read_operator,
)

REPLAYED = Decision("replayed", "plan", "me@here", "2026-11-25T12:00:00+00:00", "task-events", 3, 1)
PARKED = Decision("parked", "other", "me@here", "2026-11-25T11:00:00+00:00")
ME = Operator("s", "me", "here", 4, "99", "replay", "plan", "since", "beat")


def ledger(**fields: object) -> Ledger:
    """An empty ledger of the topic T on the cluster C, whose partition 0 begins at 10."""
    return Ledger("C", "T", starts={0: 10}, topic_ids=["T", "U"], **fields)  # type: ignore[arg-type]


def key(offset: int, topic_id: str = "T", cluster: str = "C", partition: int = 0) -> bytes:
    """A letter's key."""
    return decision_key(cluster, topic_id, partition, [offset])


def written(decision: Decision, offsets: Iterable[int] = (20,)) -> tuple[bytes, bytes]:
    """The one record that says what was decided about letters of partition 0."""
    (record,) = decision_records("C", "T", [(0, decision, list(offsets))])
    return record


def value(decision: Decision) -> bytes:
    """What is said about one letter."""
    return written(decision)[1]


def test_a_decision_is_read_as_it_was_written() -> None:
    """Decisions and operators survive the topic."""
    found = read_decision(value(REPLAYED))
    assert found is not None
    assert (found.decision, found.offsets) == (REPLAYED, ())
    assert read_operator(ME.encode()) == ME
    assert "me@here" in ME.name
    assert "pid 4" in ME.name


@pytest.mark.parametrize(
    "strange", [b"", b"x", b"[]", b"{}", b'{"v": 2, "action": "parked"}', b'{"v": 1, "action": "lost"}']
)
def test_what_is_no_decision_says_nothing(strange: bytes) -> None:
    """Foreign records on the topic are let pass."""
    assert read_decision(strange) is None
    assert read_operator(strange) is None
    seen = ledger()
    for name in (key(20), b"some/key", b"C/T/0/20-30", b"C/T/0/-20", b"C/T/0/20-x-0", None):
        seen.take(name, strange)
    assert seen.state(0, 20) == "pending"


def test_the_newest_decision_holds() -> None:
    """Parked, then replayed: replayed; a tombstone makes the letter pending again."""
    seen = ledger()
    assert seen.state(0, 20) == "pending"
    seen.take(key(20), value(PARKED))
    assert seen.state(0, 20) == "parked"
    seen.take(key(20), value(REPLAYED))
    assert (seen.state(0, 20), seen.state(0, 21), seen.state(1, 20)) == ("replayed", "pending", "pending")
    seen.take(key(20), None)
    assert seen.state(0, 20) == "pending"


def test_a_letter_is_claimed_once() -> None:
    """Only in a state that is asked for; the state is another one at once."""
    seen = ledger()
    seen.take(key(20), value(PARKED))
    assert seen.claim(0, [20], {"pending"}, "replayed") == [False]
    assert seen.claim(0, [20], {"pending", "parked"}, "replayed") == [True]
    assert seen.claim(1, [5000], {"pending"}, "parked") == [True]
    assert seen.claim(1, [5000], {"pending"}, "replayed") == [False]
    assert [seen.state(0, 20), seen.state(1, 5000), seen.state(0, 5000)] == ["replayed", "parked", "pending"]


@given(st.sets(st.integers(0, 20_000)), st.sets(st.integers(0, 20_000)))
def test_letters_are_claimed_together_as_one_by_one(decided: set[int], wanted: set[int]) -> None:
    """However they lie: those that were decided stay as they are, all others are claimed, and no third one is."""
    seen = ledger()
    for offset in decided:
        seen.set(0, offset, "purged")
    assert seen.claim(0, sorted(wanted), {"pending"}, "replayed") == [at not in decided for at in sorted(wanted)]
    states = {at: seen.state(0, at) for at in decided | wanted | {min(wanted, default=0) + 1}}
    assert states == {at: "purged" if at in decided else "replayed" if at in wanted else "pending" for at in states}


@pytest.mark.parametrize("stranger", [key(20, "U"), key(20, "gone"), key(20, cluster="D")])
def test_decisions_about_other_topics_hide_nothing(stranger: bytes) -> None:
    """A topic made anew has another id, another cluster another one: their letters are others."""
    seen = ledger()
    seen.take(stranger, value(REPLAYED))
    assert seen.state(0, 20) == "pending"


def test_decisions_about_letters_that_are_gone_are_stale() -> None:
    """Before the partition's start, or on a topic that is no more; not on another cluster or another living topic."""
    seen = ledger()
    for each in (key(9), key(5, "gone"), key(20), key(5, "U"), key(5, cluster="D"), key(8)):
        seen.take(each, value(REPLAYED))
    seen.take(key(8), None)
    assert list(seen.stale) == [key(9), key(5, "gone")]


def test_plans_and_the_operator_are_known() -> None:
    """Since when a plan works and what it did; who holds the letters."""
    seen = ledger(watched=frozenset({(0, 20), (0, 31)}))
    seen.take(key(20), value(REPLAYED))
    seen.take(key(21), value(REPLAYED))
    seen.take(*written(PARKED, (31, 30, 40)))
    seen.take(OPERATOR_KEY, ME.encode())
    assert seen.plans["plan"].counts == {"replayed": 2}
    assert seen.plans["other"].counts == {"parked": 3}
    assert seen.plans["plan"].since == REPLAYED.at
    assert seen.found == {(0, 20): REPLAYED, (0, 31): PARKED}
    assert seen.operator == ME
    seen.take(OPERATOR_KEY, None)
    assert seen.operator is None


def test_letters_of_a_partition_that_share_a_decision_share_its_record() -> None:
    """In whatever order they are told; a letter alone has a record of its own."""
    decided = [(0, PARKED, [30, 20]), (1, PARKED, [5]), (0, PARKED, [21])]
    records = dict(decision_records("C", "T", decided))
    assert len(records) == 3
    assert {key(5, partition=1), key(21)} < records.keys()
    seen = ledger()
    for record in records.items():
        seen.take(*record)
    states = [seen.state(0, offset) for offset in (20, 21, 22, 30)]
    assert states == ["parked", "parked", "pending", "parked"]


def test_a_shared_decision_is_stale_once_its_last_letter_is_gone() -> None:
    """Until then the others need it."""
    seen = ledger()
    needed, stale = written(PARKED, (3, 4, 10)), written(PARKED, (3, 4, 9))
    seen.take(*needed)
    seen.take(*stale)
    assert list(seen.stale) == [stale[0]]
    assert seen.state(0, 10) == "parked"
    seen.take(stale[0], None)
    assert not seen.stale


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["replayed", "parked", "purged"]), st.sets(st.integers(10, 18), min_size=1), st.booleans()
        ),
        max_size=12,
    )
)
def test_compaction_forgets_nothing(batches: list[tuple[str, set[int], bool]]) -> None:
    """However letters were decided about, the newest record of each key alone says the same as all of them."""
    seen, compacted, told = ledger(), ledger(), {}
    expected: dict[int, str] = {}
    for action, offsets, is_shared in batches:
        decision = replace(REPLAYED, action=action)
        each = [(0, decision, [*offsets])] if is_shared else [(0, decision, [offset]) for offset in offsets]
        for name, said in decision_records("C", "T", each):
            seen.take(name, said)
            told.pop(name, None)
            told[name] = said
        expected |= dict.fromkeys(offsets, action)
    for record in told.items():
        compacted.take(*record)
    for offset in range(10, 19):
        wanted = expected.get(offset, "pending")
        assert (seen.state(0, offset), compacted.state(0, offset)) == (wanted, wanted)
