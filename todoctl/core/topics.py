"""The topics that the chart asks for, and how an existing one differs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from todoctl.core.values import Values


@dataclass(frozen=True)
class WantedTopic:
    """A topic as the chart wants it; `config` in Kafka's own names."""

    name: str
    partitions: int
    replication: int
    config: Mapping[str, str]


def wanted_topics(values: Values) -> tuple[WantedTopic, ...]:
    """Every topic of the chart."""
    return tuple(
        WantedTopic(
            name,
            topic.partitions,
            values.kafka.replication,
            {
                **topic.cleanup,
                "min.insync.replicas": str(values.kafka.min_in_sync_replicas),
                "max.message.bytes": str(values.max_message_bytes(name)),
            },
        )
        for name, topic in values.topics.items()
    )


def differences(
    wanted: WantedTopic, partitions: int, replication: int, config: Mapping[str, str]
) -> dict[str, tuple[str, str]]:
    """Setting → (what the chart wants, what is there), for every setting that differs."""
    pairs = {
        "partitions": (str(wanted.partitions), str(partitions)),
        "replication": (str(wanted.replication), str(replication)),
        **{key: (value, config.get(key, "")) for key, value in wanted.config.items()},
    }
    return {key: (want, have) for key, (want, have) in pairs.items() if want != have}


def partition_of(key: str, partitions: int) -> int:
    """The partition that the producer behind Dapr gives to a record with this key.

    Sarama's hash partitioner: FNV-1a over the key's bytes as a signed number, the remainder without its sign.
    Source: https://github.com/IBM/sarama/blob/v1.45.2/partitioner.go, `hashPartitioner.Partition`.
    """
    digest = 0x811C9DC5
    for byte in key.encode():
        digest = (digest ^ byte) * 0x01000193 & 0xFFFFFFFF
    signed = digest - 2**32 if digest >= 2**31 else digest
    return abs(signed) % partitions
