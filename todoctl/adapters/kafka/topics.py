"""Topics and their settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from todoctl.adapters.kafka.client import SECONDS, Broker, KafkaError, Place, administrator, api, metadata, translated


@dataclass(frozen=True)
class TopicSpec:
    """A topic as it is or should be; `config` holds the settings that the chart states."""

    name: str
    partitions: int
    replication: int
    config: Mapping[str, str]


@dataclass(frozen=True)
class Partition:
    """One partition: the broker that leads it (-1: none), and where its copies are and are up to date."""

    number: int
    leader: int
    replicas: tuple[int, ...]
    in_sync: tuple[int, ...]


def layout(broker: Broker) -> dict[str, tuple[Partition, ...]]:
    """Topic → its partitions, for every topic of the cluster."""
    with translated("list topics", broker):
        admin = administrator(broker)
        known = metadata(admin).topics
    return {
        name: tuple(
            Partition(number, found.leader, tuple(found.replicas), tuple(found.isrs))
            for number, found in sorted(topic.partitions.items())
        )
        for name, topic in sorted(known.items())
    }


def config(broker: Broker, name: str) -> dict[str, tuple[str, bool]]:
    """Setting → (its value, whether the topic itself sets it), for every setting of the topic."""
    resource = api().ConfigResource(api().ResourceType.TOPIC, name)
    with translated(f"read the configuration of {name}", broker):
        admin = administrator(broker)
        found = admin.describe_configs([resource], request_timeout=SECONDS)[resource].result(SECONDS)
    own = api().ConfigSource.DYNAMIC_TOPIC_CONFIG.value
    return {key: (str(entry.value), entry.source == own) for key, entry in sorted(found.items())}


def largest_messages(broker: Broker, names: Sequence[str]) -> dict[str, int]:
    """Topic → how large a batch of records it takes, so also one record; nothing where nobody may ask."""
    try:
        found = specs(broker, names)
    except KafkaError:
        return {}
    return {name: int(spec.config["max.message.bytes"]) for name, spec in found.items()}


def add_partitions(broker: Broker, name: str, count: int) -> None:
    """Raise the topic's number of partitions to `count`."""
    with translated(f"add partitions to {name}", broker):
        admin = administrator(broker)
        for future in admin.create_partitions([api().NewPartitions(name, count)], request_timeout=SECONDS).values():
            future.result(SECONDS)


def specs(broker: Broker, names: Sequence[str]) -> dict[str, TopicSpec]:
    """The topics among `names` that exist, with the settings that differ from the broker's defaults."""
    with translated("list topics", broker):
        admin = administrator(broker)
        known = metadata(admin).topics
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
    with translated("create topics", broker):
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
    with translated(f"set the configuration of {name}", broker):
        admin = administrator(broker)
        for future in admin.incremental_alter_configs([resource], request_timeout=SECONDS).values():
            future.result(SECONDS)


def ids(broker: Broker, names: Sequence[str]) -> dict[str, str]:
    """Topic → its id, which a topic of the same name that is made anew doesn't have; for those that exist."""
    from confluent_kafka import KafkaError as Code
    from confluent_kafka import KafkaException, TopicCollection

    found = {}
    with translated("describe topics", broker):
        admin = administrator(broker)
        known = metadata(admin).topics
        present = [name for name in names if name in known]
        if not present:
            return {}
        asked = admin.describe_topics(TopicCollection(present), request_timeout=SECONDS)
        for name, future in asked.items():
            try:
                found[name] = topic_id(future.result(SECONDS))
            except KafkaException as error:
                # Deleted since it was listed.
                if error.args[0].code() != Code.UNKNOWN_TOPIC_OR_PART:
                    raise
    return found


def topic_id(description: Any) -> str:
    """The id in the client's description of a topic, as Kafka itself writes it, without a slash."""
    return str(description.topic_id).replace("/", "_").replace("+", "-")


def delete_before(broker: Broker, offsets: Mapping[Place, int]) -> None:
    """Delete the records of each (topic, partition) before the offset, for good."""
    from confluent_kafka import TopicPartition

    with translated("delete records", broker):
        admin = administrator(broker)
        wanted = [TopicPartition(*place, offset) for place, offset in offsets.items()]
        for future in admin.delete_records(wanted, request_timeout=SECONDS).values():
            future.result(SECONDS)
