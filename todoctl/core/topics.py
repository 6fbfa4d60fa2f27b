"""The topics that the chart asks for, and how an existing one differs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

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


Verdict = Literal["safe", "risky", "impossible"]


@dataclass(frozen=True)
class Change:
    """What would make one setting of a topic agree with the chart.

    `verdict`: safe loses nothing, risky may and waits for agreement, impossible is not done here; `why` says so.
    """

    topic: str
    setting: str
    have: str
    want: str
    verdict: Verdict
    why: str


def creation(wanted: WantedTopic) -> tuple[Change, ...]:
    """What makes a missing topic agree with the chart."""
    shape = f"{wanted.partitions} partitions, {wanted.replication} replicas"
    return (Change(wanted.name, "topic", "missing", shape, "safe", "is created"),)


def changes(wanted: WantedTopic, partitions: int, replication: int, config: Mapping[str, str]) -> tuple[Change, ...]:
    """What makes a topic that is there agree with the chart."""
    found = differences(wanted, partitions, replication, config)
    return tuple(
        Change(wanted.name, key, have or "unset", want, *_verdict(key, want, have, replication))
        for key, (want, have) in found.items()
    )


# Setting → what raising it means, what lowering it means.
_RULES: dict[str, tuple[tuple[Verdict, str], tuple[Verdict, str]]] = {
    "partitions": (
        ("safe", "keys move to other partitions: records of one key may lie in two"),
        ("impossible", "Kafka can't take partitions away: the chart must change, or the topic be made anew"),
    ),
    "retention.ms": (("safe", "records are kept longer"), ("risky", "older records are deleted")),
    "max.message.bytes": (
        ("safe", "larger records are taken"),
        ("risky", "larger records are refused from then on"),
    ),
    "min.insync.replicas": (
        ("safe", "writes wait for more replicas"),
        ("risky", "writes wait for fewer replicas"),
    ),
}


def _verdict(key: str, want: str, have: str, replication: int) -> tuple[Verdict, str]:
    if key == "replication":
        return "impossible", "needs a reassignment of replicas, which the cluster's own tools do"
    if key == "min.insync.replicas" and _number(want) > replication:
        return "impossible", f"the topic has {replication} replicas: nothing could be written any more"
    raised, lowered = _RULES.get(key, (("risky", "what it changes is not known here"),) * 2)
    return raised if _number(want) > _number(have) else lowered


def _number(text: str) -> float:
    """Kafka's -1 is without a limit; what is unset is less than anything."""
    try:
        number = int(text)
    except ValueError:
        return -1
    return float("inf") if number < 0 else number
