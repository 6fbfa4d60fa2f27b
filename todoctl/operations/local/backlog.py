"""Which versions of the events wait to be read: on the topics behind the groups, and in the dead letters."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from todoctl.adapters import kafka
from todoctl.core.dapr import local_group
from todoctl.core.events import DEAD_LETTERS, EVENT_MODELS, PROBE_TYPE, major
from todoctl.core.releases import VersionsFound
from todoctl.core.values import Values
from todoctl.errors import TodoctlError

_SECONDS = 20.0  # for each topic
_RECORDS = 100_000  # for each topic

_BEGINNING = 0


def versions_waiting(broker: kafka.Broker, values: Values) -> list[VersionsFound]:
    """What no group has read yet of each topic, and all dead letters; what can't be looked at is not complete."""
    places = [_found(broker, topic, topic, lambda t=topic: _unread(broker, values, t)) for topic in EVENT_MODELS]  # type: ignore[misc]
    partitions = values.topics[DEAD_LETTERS].partitions
    letters = dict.fromkeys(range(partitions), _BEGINNING)
    return [*places, _found(broker, DEAD_LETTERS, "dead letters", lambda: letters)]


def version_of(value: bytes) -> str | None:
    """The major version of the event in a record, None where there is none: a probe, or what no release can read."""
    envelope = _object(value)
    if envelope.get("type") == PROBE_TYPE or not isinstance(envelope.get("data"), dict):
        return None
    version = envelope["data"].get("schema_version")
    return major(version) if isinstance(version, str) and version else None


def version_in_letter(value: bytes) -> str | None:
    """The major version of the event that a dead letter keeps."""
    letter = _object(value).get("data")
    if not isinstance(letter, dict) or not isinstance(letter.get("value"), str):
        return None
    try:
        return version_of(base64.b64decode(letter["value"], validate=True))
    except ValueError:
        return None


def _found(broker: kafka.Broker, topic: str, place: str, starts: Callable[[], Mapping[int, int]]) -> VersionsFound:
    read = version_in_letter if topic == DEAD_LETTERS else version_of
    counted: Counter[str] = Counter()

    def look(value: bytes) -> None:
        if version := read(value):
            counted[version] += 1

    try:
        complete = kafka.scan(broker, topic, starts(), look, seconds=_SECONDS, most=_RECORDS)
    except TodoctlError as error:
        return VersionsFound(place, dict(counted), is_complete=False, detail=error.message)
    detail = "" if complete else f"{counted.total()} records in {_SECONDS:.0f} s were not all"
    return VersionsFound(place, dict(counted), complete, detail)


def _unread(broker: kafka.Broker, values: Values, topic: str) -> dict[int, int]:
    """Partition → where the slowest of the topic's groups stands; a group that reads only what is new has no past."""
    starts: dict[int, int] = {}
    partitions = values.topics[topic].partitions
    for app, service in values.services.items():
        for item in service.subscribes:
            if item.topic != topic or item.every_replica:
                continue
            for row in kafka.lag(broker, local_group(app, item), {topic: partitions}):
                at = row.start if row.committed is None else row.committed
                starts[row.partition] = min(at, starts.get(row.partition, at))
    return starts


def _object(value: bytes) -> dict[str, Any]:
    try:
        document = json.loads(value)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}
