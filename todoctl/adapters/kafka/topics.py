"""Topics and their settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from todoctl.adapters.kafka.client import SECONDS, Broker, administrator, api, translated


@dataclass(frozen=True)
class TopicSpec:
    """A topic as it is or should be; `config` holds the settings that the chart states."""

    name: str
    partitions: int
    replication: int
    config: Mapping[str, str]


def specs(broker: Broker, names: Sequence[str]) -> dict[str, TopicSpec]:
    """The topics among `names` that exist, with the settings that differ from the broker's defaults."""
    with translated("list topics"):
        admin = administrator(broker)
        known = admin.list_topics(timeout=SECONDS).topics
        present = [name for name in names if name in known]
        if not present:
            return {}
        resources = [api().ConfigResource(api().ResourceType.TOPIC, name) for name in present]
        configs = {
            resource.name: {key: entry.value for key, entry in future.result(SECONDS).items()}
            for resource, future in admin.describe_configs(resources, request_timeout=SECONDS).items()
        }
    return {
        name: TopicSpec(name, len(known[name].partitions), len(known[name].partitions[0].replicas), configs[name])
        for name in present
    }


def create(broker: Broker, wanted: Sequence[TopicSpec]) -> None:
    """Create the topics; one that is there already stays as it is."""
    from confluent_kafka import KafkaError as Code
    from confluent_kafka import KafkaException

    requests = [api().NewTopic(s.name, s.partitions, s.replication, config=dict(s.config)) for s in wanted]
    with translated("create topics"):
        admin = administrator(broker)
        for future in admin.create_topics(requests, request_timeout=SECONDS).values():
            try:
                future.result(SECONDS)
            except KafkaException as error:
                if error.args[0].code() != Code.TOPIC_ALREADY_EXISTS:
                    raise


def set_config(broker: Broker, name: str, config: Mapping[str, str]) -> None:
    """Set single settings of a topic and leave its others alone."""
    entries = [
        api().ConfigEntry(key, value, incremental_operation=api().AlterConfigOpType.SET)
        for key, value in config.items()
    ]
    resource = api().ConfigResource(api().ResourceType.TOPIC, name, incremental_configs=entries)
    with translated(f"set the configuration of {name}"):
        admin = administrator(broker)
        for future in admin.incremental_alter_configs([resource], request_timeout=SECONDS).values():
            future.result(SECONDS)
