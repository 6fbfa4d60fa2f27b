"""The contract files, made from the event models and the chart's values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from todoctl.core.dead_letters import DeadLetter
from todoctl.core.events import (
    DEAD_LETTERS,
    REMINDERS,
    TASK_EVENTS,
    TASK_UPDATES,
    ReminderEvent,
    TaskEvent,
    TaskUpdateEvent,
)
from todoctl.core.values import Values

# Topic → its schema's file and the model behind it.
SCHEMAS: dict[str, tuple[str, type[BaseModel]]] = {
    TASK_EVENTS: ("task-event-schema.json", TaskEvent),
    REMINDERS: ("reminder-event-schema.json", ReminderEvent),
    TASK_UPDATES: ("task-update-event-schema.json", TaskUpdateEvent),
    DEAD_LETTERS: ("dead-letter-schema.json", DeadLetter),
}
TOPICS_FILE = "kafka-topics.yaml"

# Whether the topic is compacted → what lies on it: events, or the operators' decisions about dead letters.
_CONTENT = {
    False: {"key": "the user's id, as text", "value": "a CloudEvents 1.0 envelope in JSON (structured mode)"},
    True: {"key": "cluster id/topic id/partition/offset of a dead letter", "value": "a decision about it, in JSON"},
}

_HEADER = "# Generated from chart/values.yaml by `python -m services.contracts`; change it there.\n"


def files(values: dict[str, Any]) -> dict[str, str]:
    """File name → content of every contract."""
    import yaml

    schemas = {name: json.dumps(schema, indent=2) + "\n" for name, schema in schemas_by_file().items()}
    topics = yaml.safe_dump(topic_specification(Values.model_validate(values)), sort_keys=False, width=120)
    return schemas | {TOPICS_FILE: _HEADER + topics}


def schemas_by_file() -> dict[str, dict[str, Any]]:
    """File name → JSON Schema of what is the `data` of the topic's CloudEvents."""
    return {name: _schema(topic, name, model) for topic, (name, model) in SCHEMAS.items()}


def topic_specification(values: Values) -> dict[str, Any]:
    """The topics with their settings, who writes and who reads them, and what lies on them."""
    return {"topics": {name: _topic(values, name) for name in values.topics}}


def values_file() -> Path:
    """The chart's values: in a checkout beside the services, in an installed package inside todoctl."""
    root = Path(__file__).parents[2]
    chart = root / "chart" if (root / "chart").is_dir() else root / "todoctl" / "_chart"
    return chart / "values.yaml"


def _schema(topic: str, name: str, model: type[BaseModel]) -> dict[str, Any]:
    # As it is written, not as it may be read: a field with a default is always there.
    schema = model.model_json_schema(mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": name, "x-topic": topic} | schema


def _topic(values: Values, name: str) -> dict[str, Any]:
    topic, users = values.topics[name], values.services.items()
    return {
        "partitions": topic.partitions,
        "replication": values.kafka.replication,
        **_CONTENT[topic.compacted],
        "schema": SCHEMAS[name][0] if name in SCHEMAS else None,
        "producers": [service for service, entry in users if name in entry.publishes],
        "consumers": [service for service, entry in users if name in {item.topic for item in entry.subscribes}],
        "config": {
            **{key: int(value) if value.isdigit() else value for key, value in topic.cleanup.items()},
            "min.insync.replicas": values.kafka.min_in_sync_replicas,
            "max.message.bytes": values.max_message_bytes(name),
        },
    }
