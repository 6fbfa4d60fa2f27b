"""Filters, groups and outcomes: which letters are meant, how they are counted, what came of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.unit.core.dlq.test_planning import EVENT_ID, LETTER
from todoctl.core.dlq.decisions import STATES
from todoctl.core.dlq.filters import Filter, read_name
from todoctl.core.dlq.foreign import Reason
from todoctl.core.dlq.groups import Groups
from todoctl.core.dlq.letters import MARK
from todoctl.core.dlq.outcomes import NOBODY, Outcomes, Republished, republished
from todoctl.errors import UsageError

MEANT = replace(
    LETTER, reason=Reason("recurring", "InvalidEventError", "bad \x00 title"), letter_id="L", written_ms=500
)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"error": "invalid*"},
        {"consumer": "recurring"},
        {"event_type": "task.*"},
        {"topic": "task-?vents"},
        {"form": "dapr"},
        {"text": "title"},
        {"text": EVENT_ID},
        {"since_ms": 500, "until_ms": 501},
        {"names": ("9/9", "0/5")},
        {"names": ("L",)},
        {"names": (EVENT_ID,)},
    ],
)
def test_a_letter_is_meant_when_everything_holds(fields: dict[str, Any]) -> None:
    """Globs without regard to case, times half open, any of its names."""
    assert Filter(**fields).matches(MEANT, "pending")


@pytest.mark.parametrize(
    "fields",
    [
        {"states": ("parked",)},
        {"error": "unknown"},
        {"consumer": "audit"},
        {"event_type": "reminder.*"},
        {"topic": "reminders"},
        {"form": "spring"},
        {"text": "nowhere"},
        {"since_ms": 501},
        {"until_ms": 500},
        {"user_id": 3},
        {"correlation_id": "other"},
        {"names": ("0/6",)},
    ],
)
def test_one_thing_that_does_not_hold_is_enough(fields: dict[str, Any]) -> None:
    """All must hold."""
    assert not Filter(**fields).matches(MEANT, "pending")


def test_what_nobody_wrote_down_is_unknown() -> None:
    """As lists call it, so can a filter."""
    assert Filter(error="unknown", topic="unknown").matches(replace(LETTER, reason=Reason(), origin=None), "pending")


def test_a_filter_tells_what_was_stated() -> None:
    """For the plan's header."""
    assert Filter(error="x*", names=("0/1",)).stated == {"state": "pending", "error": "x*", "letters": "0/1"}


@pytest.mark.parametrize("name", ["1/", "/1", "a/b", "1/2/3", "-1/2", "1/" + "9" * 19])
def test_a_place_that_is_none_is_refused(name: str) -> None:
    """Partition and offset are plain numbers."""
    with pytest.raises(UsageError):
        read_name(name)


def test_names_are_places_or_ids() -> None:
    """What has a slash is a place."""
    assert read_name("2/153") == (2, 153)
    assert read_name("an-id") is None


def test_new_classes_come_first() -> None:
    """The class seen first last; letters that don't count only tell its age."""
    groups = Groups()
    groups.add(replace(MEANT, written_ms=100), "replayed", counts=False)
    for at in (300, 200):
        groups.add(replace(MEANT, written_ms=at, offset=at), "pending", counts=True)
    groups.add(replace(LETTER, reason=Reason(), written_ms=250), "pending", counts=True)
    groups.add(replace(LETTER, reason=Reason("audit", "Old"), written_ms=1), "parked", counts=False)
    first, second = groups.rows()
    assert (first.error_class, first.count) == ("unknown", 1)
    assert (second.first_ms, second.oldest_ms, second.newest_ms, second.example) == (100, 200, 300, "0/300")
    assert groups.totals() == dict(zip(STATES, (3, 1, 1, 0), strict=True))


def test_a_mark_tells_the_letter() -> None:
    """Of this plan only."""
    spot = ("task-events", 1, 9)
    assert republished("p", spot, [("a", b"p/1/2/3"), (MARK, b"p/4/5/1")]) == Republished((4, 5), spot)
    assert republished("p", spot, [(MARK, b"pp/4/5/1")]) is None
    assert republished("p", spot, [("todoctl-replay", b"p/x/y/z"), ("todoctl-replay", None)]) is None


def test_each_consumer_is_judged() -> None:
    """Past it without a letter: processed; a letter: dead again, also when nobody says whose; else nobody knows."""
    spot = ("t", 0, 5)
    outcomes = Outcomes(
        {"t": ("a", "b", "c")},
        {"a": {("t", 0): 6}, "b": {("t", 0): 5}, "c": {("t", 0): 9}},
        {spot: frozenset({"c", NOBODY})},
    )
    verdicts = outcomes.judge(Republished((0, 1), spot))
    assert verdicts == {"a": "processed", "b": "unknown", "c": "dead again", NOBODY: "dead again"}
    assert outcomes.judge(Republished((0, 2), ("t", 0, 4)))["b"] == "processed"
    assert (outcomes.died, outcomes.unknown, outcomes.records) == (2, 1, 2)
