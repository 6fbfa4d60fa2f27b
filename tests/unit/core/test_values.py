"""The values model: what it refuses, and that the chart's own values fit it."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from pydantic import ValidationError

from tests.unit.sites import chart_values, document
from todoctl.core import events
from todoctl.core.dlq.decisions import DECISIONS
from todoctl.core.values import Values

API: dict[str, Any] = {"port": 8000}


def refused(changed: dict[str, Any]) -> str:
    """What is said about a document that is refused."""
    with pytest.raises(ValidationError) as caught:
        Values.model_validate(changed)
    return str(caught.value)


def test_the_smallest_document_has_defaults() -> None:
    """Brokers' settings, tracing and log level need not be said."""
    values = Values.model_validate(document(api=API))
    assert (values.kafka.replication, values.kafka.min_in_sync_replicas) == (3, 2)
    assert (values.dapr.log_level, values.dapr.tracing.sampling_rate) == ("info", "0")
    assert values.services["api"].publishes == ()


@pytest.mark.parametrize(
    "path",
    [
        (),
        ("services", "api"),
        ("services", "api", "database"),
        ("services", "api", "subscribes", 0),
        ("services", "api", "subscribes", 0, "bulk"),
        ("services", "api", "invokes", 0),
        ("topics", "task-events"),
        ("kafka",),
        ("dapr",),
        ("dapr", "pubsub"),
        ("dapr", "statestore"),
        ("dapr", "tracing"),
    ],
)
def test_an_unknown_key_is_refused_everywhere(path: tuple[str | int, ...]) -> None:
    """No section takes a key that the model does not know."""
    api = API | {
        "database": {"role": "api"},
        "subscribes": [{"topic": "task-events", "route": "/events", "bulk": {"maxMessages": 1, "maxAwaitMs": 1}}],
        "invokes": [{"service": "api", "paths": ["/x"]}],
    }
    whole = document(api=api) | {"kafka": {}}
    whole["dapr"]["tracing"] = {}
    Values.model_validate(whole)
    changed: Any = copy.deepcopy(whole)
    section = changed
    for part in path:
        section = section[part]
    section["surplus"] = 1
    assert "surplus" in refused(changed)


@pytest.mark.parametrize(
    ("services", "said"),
    [
        ({"api": API | {"publishes": ["absent"]}}, "services.api: no such topic: absent"),
        (
            {"api": API | {"subscribes": [{"topic": "absent", "route": "/x"}]}},
            "services.api: no such topic: absent",
        ),
        ({"api": API | {"invokes": [{"service": "absent", "paths": []}]}}, "services.api: no such service: absent"),
        ({"api": API, "auth": API}, "services: two services have the same port"),
        ({"Api": API}, "should match pattern"),
        ({"a/../b": API}, "should match pattern"),
        ({"-api": API}, "should match pattern"),
        ({"a" * 41: API}, "should match pattern"),
        ({"api": {"port": 80}}, "greater than or equal to 1024"),
        ({"api": {"port": 65536}}, "less than or equal to 65535"),
        ({"api": {}}, "Field required"),
        ({"api": API | {"database": {"role": "x; DROP ROLE y"}}}, "should match pattern"),
        ({"api": API | {"subscribes": [{"topic": "task-events", "route": "events"}]}}, "should match pattern"),
        ({"api": API | {"subscribes": [{"topic": "task-events", "route": "/a b"}]}}, "should match pattern"),
    ],
)
def test_services_that_do_not_fit_are_refused(services: dict[str, Any], said: str) -> None:
    """Names refer to what is defined, ports are free for users and used once, names are safe to put into files."""
    assert said in refused(document(**services))


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("kafka", "replication", 0),
        ("kafka", "maxMessageBytes", 1),
        ("dapr", "logLevel", "loud"),
    ],
)
def test_numbers_and_words_out_of_range_are_refused(section: str, key: str, value: object) -> None:
    """A value that no broker or sidecar takes is refused here, before anything starts."""
    whole = document(api=API)
    whole.setdefault(section, {})[key] = value
    assert f"{section}.{key}" in refused(whole)


def test_values_do_not_change() -> None:
    """The model is frozen: whoever holds the values holds what was read."""
    values = Values.model_validate(document(api=API))
    with pytest.raises(ValidationError):
        values.kafka = values.kafka  # type: ignore[misc]


def test_the_charts_topics_are_those_of_the_events() -> None:
    """The chart has exactly the topics that the code publishes to, with the partitions that the design asks for."""
    topics = chart_values().topics
    assert {name: topic.partitions for name, topic in topics.items()} == {
        events.TASK_EVENTS: 6,
        events.REMINDERS: 3,
        events.TASK_UPDATES: 6,
        events.DEAD_LETTERS: 3,
        DECISIONS: 1,
    }
    assert topics[events.DEAD_LETTERS].retention_hours == 30 * 24


@pytest.mark.parametrize("topic", [{"partitions": 1}, {"partitions": 1, "compacted": True, "retentionHours": 1}])
def test_a_topic_keeps_its_records_in_one_way(topic: dict[str, Any]) -> None:
    """Either for some hours, or the newest of each key: neither or both is refused."""
    whole = document(api=API)
    whole["topics"]["other"] = topic
    assert "retentionHours or compacted" in refused(whole)


def test_every_consumer_may_write_letters() -> None:
    """A service that subscribes can publish to the dead letters: otherwise a poison record would block it for ever."""
    for name, service in chart_values().services.items():
        assert not service.subscribes or events.DEAD_LETTERS in service.publishes, name


def test_one_machine_has_one_broker() -> None:
    """The overlay for processes asks for one replica of everything."""
    kafka = chart_values().kafka
    assert (kafka.replication, kafka.min_in_sync_replicas) == (1, 1)
