"""What is said of a group's lag: never 0 where nobody would read on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from todoctl.core.lag import Facts, Limit, judge, parse_limit, unknown

WORKING = Facts(
    group="audit",
    state="Stable",
    members=1,
    is_held=True,
    topic="t",
    partition=0,
    committed=90,
    start=10,
    end=100,
    oldest_ms=4_000,
)


def lag(**changed: Any) -> tuple[int | None, float | None, str]:
    """Messages, seconds and problem of the working group with these facts changed."""
    row = judge(replace(WORKING, **changed), now=10.0)
    return row.messages, row.seconds, row.problem


def test_messages_and_age() -> None:
    """The distance to the end, and the age of the oldest unread record."""
    assert lag() == (10, 6.0, "")


def test_nothing_left_is_zero() -> None:
    """A member holds the partition and has committed up to the end."""
    assert lag(committed=100, oldest_ms=None) == (0, 0.0, "")


def test_only_markers_left_is_zero() -> None:
    """Offsets without a record are a transaction's markers, which nobody reads."""
    assert lag(committed=99, oldest_ms=None) == (0, 0.0, "")


def test_an_empty_partition_is_zero_for_a_group_that_commits_elsewhere() -> None:
    """There was nothing to commit."""
    assert lag(committed=None, start=100, oldest_ms=None) == (0, 0.0, "")


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"state": "Dead", "members": 0}, "the broker knows no such group"),
        ({"state": "Empty", "members": 0}, "no member is connected"),
        ({"is_held": False}, "no member holds the partition"),
        ({"state": "PreparingRebalance", "is_held": False}, "the group is preparing rebalance"),
    ],
)
def test_a_group_that_nobody_reads_for_is_never_zero(changed: dict[str, Any], problem: str) -> None:
    """With nothing left it is unknown; with something left it has its number, and its problem."""
    assert lag(committed=100, oldest_ms=None, **changed) == (None, None, problem)
    assert lag(**changed) == (10, 6.0, problem)


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({}, "never committed; 90 records are there"),
        ({"start": 100, "has_commits": False}, "never committed; 0 records are there"),
    ],
)
def test_a_group_without_commits_is_unknown(changed: dict[str, Any], problem: str) -> None:
    """Records that it never committed, or a group that never committed anywhere."""
    assert lag(committed=None, oldest_ms=None, **changed) == (None, None, problem)


def test_a_group_that_reads_only_what_is_new_owes_nothing() -> None:
    """Its first commit is to come: no number, no problem, and no gate is closed by it."""
    row = judge(replace(WORKING, committed=None, oldest_ms=None, reads_new_only=True), now=10.0)
    assert (row.messages, row.problem, row.owes_nothing) == (None, "", True)
    assert Limit(messages=0).is_kept(row)


def test_what_retention_took_is_said() -> None:
    """Records that went before they were read are no lag, and no secret."""
    assert lag(committed=4) == (90, 6.0, "6 records were removed by retention before they were read")


def test_a_record_without_a_time_has_no_age() -> None:
    """The messages are known, the seconds are not."""
    assert lag(oldest_ms=-1) == (10, None, "")


@pytest.mark.parametrize(
    ("limit", "changed", "is_kept"),
    [
        ("10", {}, True),
        ("9", {}, False),
        ("6s", {}, True),
        ("5s", {}, False),
        ("1h", {"oldest_ms": -1}, False),
        ("1000", {"members": 0, "state": "Empty"}, False),
        ("1000", {"committed": None}, False),
    ],
)
def test_a_limit_is_kept(limit: str, changed: dict[str, Any], is_kept: bool) -> None:
    """In messages or in seconds; what can't be told is above every limit."""
    assert parse_limit(limit).is_kept(judge(replace(WORKING, **changed), now=10.0)) is is_kept


def test_a_group_that_could_not_be_looked_at_keeps_no_limit() -> None:
    """A row without a partition has a problem and no number."""
    assert not Limit(messages=10**9).is_kept(unknown("g", "t", "Dead", "there is no such topic"))


@pytest.mark.parametrize("text", ["", "soon", "-1", "1.5", "9" * 20, "99999999999999999d"])
def test_a_limit_that_is_none_is_refused(text: str) -> None:
    """The refusal says what may be written."""
    with pytest.raises(ValueError, match="neither a number of messages nor a duration"):
        parse_limit(text)


def test_a_commit_behind_the_end_is_no_lag_of_zero() -> None:
    """Nobody reads on from there."""
    messages, seconds, problem = lag(committed=1000, oldest_ms=None)
    assert (messages, seconds) == (None, None)
    assert "behind the end" in problem
