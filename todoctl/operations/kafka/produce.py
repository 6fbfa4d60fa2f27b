"""Appending records by hand: events that fit their topic's schema, marked as made by an operator, or anything raw."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from uuid import uuid4

from pydantic import ValidationError
from pydantic_core import from_json

from todoctl.adapters.kafka import client, producer, topics
from todoctl.adapters.kafka.client import Broker
from todoctl.adapters.kafka.producer import Appended, Draft
from todoctl.core.events import EVENT_MODELS, UnsupportedVersionError, parse_event, partition_key, to_cloud_event
from todoctl.errors import UsageError

OPERATOR_HEADER = "todoctl-operator"  # who made the record by hand

_SOURCE = "/todoctl/operator"


@dataclass(frozen=True)
class Wanted:
    """How records are to be appended: with which key, headers and partition, checked or raw."""

    topic: str
    operator: str
    key: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()
    partition: int | None = None
    is_raw: bool = False


def drafts(values: Iterable[tuple[str, bytes | None]], wanted: Wanted) -> Iterator[Draft]:
    """Records of (where it stands in the input, value), checked against the topic's schema unless they are raw.

    Raises:
        UsageError: the topic has no schema, or a value does not fit it; says where it stands.
    """
    if not wanted.is_raw and wanted.topic not in EVENT_MODELS:
        raise UsageError(
            f"{wanted.topic} has no event schema to check against; those that have: {', '.join(EVENT_MODELS)}",
            hint="add --raw to append anything",
        )
    headers = ((OPERATOR_HEADER, wanted.operator.encode()), *wanted.headers)
    for place, value in values:
        key, checked = (wanted.key, value) if wanted.is_raw else _checked(place, value, wanted)
        yield Draft(key, checked, headers, wanted.partition)


def append(broker: Broker, topic: str, records: Iterable[Draft]) -> Iterator[Appended]:
    """Append in order, and give each as the broker has it.

    Raises:
        PartialError: the broker refused some; says how many are there.
        KafkaError: there is no such topic, or it took none.
    """
    # Of a topic that isn't there the producer would only say, after long, that nobody took the record.
    client.partitions(broker, client.administrator(broker), [topic])
    largest = topics.largest_messages(broker, [topic]).get(topic, producer.LARGEST_BATCH)
    return producer.append(broker, topic, records, batch_bytes=largest)


def _checked(place: str, value: bytes | None, wanted: Wanted) -> tuple[bytes, bytes]:
    """The key and the CloudEvents envelope of a value that holds one, or an event's data alone."""
    try:
        # Read as the consumers read it: the standard library takes byte order marks, UTF-16, NaN and lone surrogates.
        found = from_json(value or b"", allow_inf_nan=False)
        if not isinstance(found, dict):
            raise ValueError("it is no JSON object")  # noqa: TRY301 - all that is wrong with a value ends below
        envelope = (
            found if "specversion" in found else {"data": {"schema_version": "1.0", "event_id": str(uuid4()), **found}}
        )
        event = parse_event(wanted.topic, envelope)
    except ValidationError as error:
        detail = tuple(f"{'.'.join(map(str, item['loc'])) or 'event'}: {item['msg']}" for item in error.errors())
        raise UsageError(
            f"{place}: it does not fit the schema of {wanted.topic}", detail=detail, hint="nothing was appended"
        ) from error
    except (UnsupportedVersionError, ValueError) as error:
        raise UsageError(f"{place}: it is no event of {wanted.topic}: {error}", hint="nothing was appended") from error
    key = wanted.key if wanted.key is not None else partition_key(event.user_id).encode()
    if "specversion" in found:
        return key, bytes(value or b"")
    return key, json.dumps(to_cloud_event(event, source=_SOURCE), ensure_ascii=False).encode()
