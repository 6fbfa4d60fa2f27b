"""Decisions: what lies on the compacted topic, and what it says about each letter."""

from __future__ import annotations

import pytest

from todoctl.core.dlq.decisions import (
    OPERATOR_KEY,
    Decision,
    Ledger,
    Operator,
    decision_key,
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
    return decision_key(cluster, topic_id, partition, offset)


def test_a_decision_is_read_as_it_was_written() -> None:
    """Decisions and operators survive the topic."""
    assert read_decision(REPLAYED.encode()) == REPLAYED
    assert read_operator(ME.encode()) == ME
    assert "me@here" in ME.name
    assert "pid 4" in ME.name


@pytest.mark.parametrize(
    "value", [b"", b"x", b"[]", b"{}", b'{"v": 2, "action": "parked"}', b'{"v": 1, "action": "lost"}']
)
def test_what_is_no_decision_says_nothing(value: bytes) -> None:
    """Foreign records on the topic are let pass."""
    assert read_decision(value) is None
    assert read_operator(value) is None
    seen = ledger()
    seen.take(key(20), value)
    seen.take(b"some/key", value)
    seen.take(None, value)
    assert seen.state(0, 20) == "pending"


def test_the_newest_decision_holds() -> None:
    """Parked, then replayed: replayed; a tombstone makes the letter pending again."""
    seen = ledger()
    assert seen.state(0, 20) == "pending"
    seen.take(key(20), PARKED.encode())
    assert seen.state(0, 20) == "parked"
    seen.take(key(20), REPLAYED.encode())
    assert (seen.state(0, 20), seen.state(0, 21), seen.state(1, 20)) == ("replayed", "pending", "pending")
    seen.take(key(20), None)
    assert seen.state(0, 20) == "pending"


@pytest.mark.parametrize("stranger", [key(20, "U"), key(20, "gone"), key(20, cluster="D")])
def test_decisions_about_other_topics_hide_nothing(stranger: bytes) -> None:
    """A topic made anew has another id, another cluster another one: their letters are others."""
    seen = ledger()
    seen.take(stranger, REPLAYED.encode())
    assert seen.state(0, 20) == "pending"


def test_decisions_about_letters_that_are_gone_are_stale() -> None:
    """Before the partition's start, or on a topic that is no more; not on another cluster or another living topic."""
    seen = ledger()
    for each in (key(9), key(5, "gone"), key(20), key(5, "U"), key(5, cluster="D"), key(8)):
        seen.take(each, REPLAYED.encode())
    seen.take(key(8), None)
    assert list(seen.stale) == [key(9), key(5, "gone")]


def test_plans_and_the_operator_are_known() -> None:
    """Since when a plan works and what it did; who holds the letters."""
    seen = ledger(watched=frozenset({key(20)}))
    seen.take(key(20), REPLAYED.encode())
    seen.take(key(21), REPLAYED.encode())
    seen.take(OPERATOR_KEY, ME.encode())
    assert seen.plans["plan"].counts == {"replayed": 2}
    assert seen.plans["plan"].since == REPLAYED.at
    assert seen.found == {key(20): REPLAYED}
    assert seen.operator == ME
    seen.take(OPERATOR_KEY, None)
    assert seen.operator is None
