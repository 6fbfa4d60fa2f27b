"""Which versions of the events wait to be read: on the topics behind the groups, and in the open dead letters."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from todoctl.adapters.kafka import groups, records
from todoctl.adapters.kafka.client import Broker, Place
from todoctl.core.dapr import local_group
from todoctl.core.dlq.filters import Filter
from todoctl.core.events import DEAD_LETTERS, EVENT_MODELS, PROBE_TYPE, major
from todoctl.core.releases import VersionsFound
from todoctl.core.values import Values
from todoctl.errors import TodoctlError
from todoctl.operations.dlq import desk

_SECONDS = 20.0  # for each topic
_RECORDS = 100_000  # for each topic


def versions_waiting(broker: Broker, values: Values) -> list[VersionsFound]:
    """What a group has not read yet of each topic, and every dead letter that nobody decided about.

    What can't be looked at, or not all of it within 20 s and 100,000 records for each topic, is told as incomplete.
    """
    found = [_counted(topic, _unread(broker, values, topic)) for topic in EVENT_MODELS]
    return [*found, _counted("dead letters", _open_letters(broker, values))]


def version_of(value: bytes | None) -> str | None:
    """The major version of the event in a record, None where there is none: a probe, or what no release can read."""
    try:
        envelope = json.loads(value or b"")
    except (ValueError, RecursionError):
        return None
    data: Any = envelope.get("data") if isinstance(envelope, dict) else None
    if not isinstance(data, dict) or envelope.get("type") == PROBE_TYPE:
        return None
    version = data.get("schema_version")
    return major(version) if isinstance(version, str) and version else None


def _counted(place: str, values: Iterable[bytes | None]) -> VersionsFound:
    """The versions of what comes; None is a moment in which nothing did."""
    deadline, seen = time.monotonic() + _SECONDS, 0
    counted: Counter[str] = Counter()
    try:
        for value in values:
            if seen >= _RECORDS or time.monotonic() > deadline:
                words = f"{seen} records in {_SECONDS:.0f} s were not all"
                return VersionsFound(place, dict(counted), is_complete=False, detail=words)
            seen += value is not None
            if version := version_of(value):
                counted[version] += 1
    except TodoctlError as error:
        return VersionsFound(place, dict(counted), is_complete=False, detail=error.message)
    return VersionsFound(place, dict(counted), is_complete=True)


def _unread(broker: Broker, values: Values, topic: str) -> Iterator[bytes | None]:
    """From where the slowest of the topic's groups stands; a group that reads only what is new has no past."""
    starts: dict[Place, int] = {}
    stops: dict[Place, int | None] = {}
    partitions = values.topics[topic].partitions
    for app, service in values.services.items():
        for item in service.subscribes:
            if item.topic != topic or item.every_replica:
                continue
            for row in groups.lag(broker, local_group(app, item), {topic: partitions}):
                place, at = (topic, row.partition), row.start if row.committed is None else row.committed
                starts[place], stops[place] = min(at, starts.get(place, at)), row.end
    for batch in records.scan(broker, starts, stops) if starts else ():
        yield from (record.value for record in batch) if batch else (None,)


def _open_letters(broker: Broker, values: Values) -> Iterator[bytes | None]:
    opened = desk.open_desk(broker, values, DEAD_LETTERS)
    for letter, _ in desk.letters(opened, desk.read_ledger(opened), Filter()):
        yield letter.value
