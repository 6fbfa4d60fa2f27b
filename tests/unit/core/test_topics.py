"""Topics: what the chart wants of each, and how one that is there differs."""

from __future__ import annotations

from tests.unit.sites import chart_values
from todoctl.core.topics import WantedTopic, differences, wanted_topics

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
