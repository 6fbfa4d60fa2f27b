"""Making the cluster's topics agree with the chart, so far as that is safe or agreed to."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from todoctl.adapters.kafka import topics
from todoctl.adapters.kafka.client import Broker
from todoctl.core.topics import Change, WantedTopic, changes, creation
from todoctl.errors import WaitTimeoutError


def plan(broker: Broker, wanted: Sequence[WantedTopic]) -> tuple[Change, ...]:
    """Every difference between the chart and the cluster; topics that the chart doesn't name are nobody's business."""
    there = topics.specs(broker, [topic.name for topic in wanted])
    found: list[Change] = []
    for topic in wanted:
        spec = there.get(topic.name)
        found += changes(topic, spec.partitions, spec.replication, spec.config) if spec else creation(topic)
    return tuple(found)


def execute(broker: Broker, wanted: Sequence[WantedTopic], agreed: Sequence[Change]) -> Iterator[Change]:
    """Makes the changes, each is given once it is made; the last is given when the cluster shows them all.

    Raises:
        KafkaError: the broker refused one.
        WaitTimeoutError: the cluster does not show them.
    """
    by_name = {topic.name: topic for topic in wanted}
    for change in agreed:
        topic = by_name[change.topic]
        if change.setting == "topic":
            topics.create(broker, [topics.TopicSpec(topic.name, topic.partitions, topic.replication, topic.config)])
        elif change.setting == "partitions":
            topics.add_partitions(broker, change.topic, topic.partitions)
        else:
            topics.set_config(broker, change.topic, {change.setting: change.want})
        yield change
    _until_shown(broker, wanted, agreed)


def _until_shown(broker: Broker, wanted: Sequence[WantedTopic], agreed: Sequence[Change]) -> None:
    made = {(change.topic, change.setting) for change in agreed}
    deadline = time.monotonic() + 15
    while left := [change for change in plan(broker, wanted) if (change.topic, change.setting) in made]:
        if time.monotonic() > deadline:
            last = ", ".join(f"{change.topic} {change.setting} is {change.have}" for change in left)
            raise WaitTimeoutError(
                f"the broker took the changes and does not show them: {last}", hint="todoctl topics apply"
            )
        time.sleep(0.1)
