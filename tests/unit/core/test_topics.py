"""Topics: what the chart wants of each, and how one that is there differs."""

from __future__ import annotations

import pytest

from tests.unit.sites import chart_values
from todoctl.core.topics import WantedTopic, changes, creation, differences, wanted_topics

WANTED = WantedTopic("task-events", 6, 3, {"retention.ms": "1000", "min.insync.replicas": "2"})


def test_wanted_topics_come_from_the_chart() -> None:
    """Partitions and retention are the topic's, the size is its own or everybody's; hours become milliseconds."""
    wanted = {topic.name: topic for topic in wanted_topics(chart_values())}
    letters = wanted["dlq-events"]
    assert (letters.partitions, letters.replication) == (3, 1)
    assert letters.config == {
        "cleanup.policy": "delete",
        "retention.ms": str(30 * 24 * 3600 * 1000),
        "min.insync.replicas": "1",
        "max.message.bytes": "2097152",
    }
    assert wanted["dlq-decisions"].config == {
        "cleanup.policy": "compact",
        "min.insync.replicas": "1",
        "max.message.bytes": "1048576",
    }


def test_no_difference() -> None:
    """A topic as wanted has none; settings that the chart does not speak of may be anything."""
    assert differences(WANTED, 6, 3, {**WANTED.config, "cleanup.policy": "compact"}) == {}


def test_each_difference_is_told_with_both_sides() -> None:
    """Setting → (wanted, found); a setting that is not there is empty."""
    assert differences(WANTED, 3, 1, {"retention.ms": "5"}) == {
        "partitions": ("6", "3"),
        "replication": ("3", "1"),
        "retention.ms": ("1000", "5"),
        "min.insync.replicas": ("2", ""),
    }


@pytest.mark.parametrize(
    ("partitions", "config", "verdict"),
    [
        (3, {}, "safe"),
        (9, {}, "impossible"),
        (6, {"retention.ms": "999"}, "safe"),
        (6, {"retention.ms": "1001"}, "risky"),
        (6, {"retention.ms": "-1"}, "risky"),
        (6, {"min.insync.replicas": "1"}, "safe"),
        (6, {"min.insync.replicas": "3"}, "risky"),
        (6, {"max.message.bytes": "4"}, "safe"),
        (6, {"max.message.bytes": "6"}, "risky"),
        (6, {"cleanup.policy": "compact"}, "risky"),
    ],
)
def test_a_change_is_safe_when_it_loses_nothing(partitions: int, config: dict[str, str], verdict: str) -> None:
    """More is safe; less, and what is not known, waits for agreement; partitions are never taken away."""
    wanted = WantedTopic("t", 6, 3, {**WANTED.config, "max.message.bytes": "5", "cleanup.policy": "delete"})
    (change,) = changes(wanted, partitions, 3, {**wanted.config, **config})
    assert (change.verdict, bool(change.why)) == (verdict, True)


def test_more_replicas_are_not_made_here() -> None:
    """Neither the topic's replicas nor a number of them that must be in sync and is not there."""
    found = {one.setting: one.verdict for one in changes(WANTED, 6, 1, {**WANTED.config, "min.insync.replicas": "1"})}
    assert found == {"replication": "impossible", "min.insync.replicas": "impossible"}


def test_a_missing_topic_is_created() -> None:
    """One safe change makes the whole topic."""
    (change,) = creation(WANTED)
    assert (change.setting, change.verdict, change.want) == ("topic", "safe", "6 partitions, 3 replicas")
