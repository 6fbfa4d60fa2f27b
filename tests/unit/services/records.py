"""Records for event routes: sound ones, and bad ones of every kind we could think of."""

from __future__ import annotations

import copy
import json
from base64 import b64encode
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote_plus
from uuid import uuid4

from hypothesis import strategies as st

from todoctl.core.events import (
    Event,
    ReminderDetail,
    ReminderEvent,
    SeriesSnapshot,
    TaskChange,
    TaskEvent,
    TaskSnapshot,
    TaskUpdateEvent,
    to_cloud_event,
)

Envelope = dict[str, Any]

MOMENT = datetime(2030, 1, 31, 9, 0, tzinfo=UTC)
EVENT_TOPICS = ("task-events", "reminders", "task-updates")


def series(**changes: Any) -> SeriesSnapshot:
    """A monthly series in Berlin whose task is due on 31 January 2030 at 10:00 local time."""
    fields: dict[str, Any] = {
        "series_id": 5,
        "rule": {"frequency": "monthly"},
        "zone": "Europe/Berlin",
        "anchor": datetime(2030, 1, 31, 10, 0),  # noqa: DTZ001 - wall time of the series' zone
        "due_local": datetime(2030, 1, 31, 10, 0),  # noqa: DTZ001 - wall time of the series' zone
        "index": 1,
    }
    return SeriesSnapshot(**fields | changes)


def task(**changes: Any) -> TaskSnapshot:
    """A completed task of user 7."""
    fields: dict[str, Any] = {
        "id": 41,
        "user_id": 7,
        "title": "Milk",
        "status": "completed",
        "due_date": MOMENT,
        "version": 2,
        "created_at": MOMENT,
        "updated_at": MOMENT,
    }
    return TaskSnapshot(**fields | changes)


def event(topic: str, **changes: Any) -> Event:
    """A sound event of a topic, a fresh event id each time."""
    common: dict[str, Any] = {
        "event_id": uuid4(),
        "user_id": 7,
        "task_id": 41,
        "user_seq": 3,
        "version": 2,
        "occurred_at": MOMENT,
        "correlation_id": "request-1",
    }
    change = TaskChange(task=task(series=series()), changed=("status",))
    detail = ReminderDetail(reminder_id=9, trigger_at=MOMENT, due_date=MOMENT, title="Milk")
    match topic:
        case "task-events":
            return TaskEvent(**common | {"event_type": "task.completed", "payload": change} | changes)
        case "reminders":
            return ReminderEvent(**common | {"event_type": "reminder.due", "payload": detail} | changes)
        case _:
            return TaskUpdateEvent(**common | {"event_type": "task.sync", "payload": change} | changes)


def envelope(topic: str, **changes: Any) -> Envelope:
    """A sound event's CloudEvents envelope."""
    return to_cloud_event(event(topic, **changes), source="/todo/api")


def record(topic: str, **changes: Any) -> bytes:
    """A sound event's bytes as they lie on its topic."""
    return json.dumps(envelope(topic, **changes)).encode()


def origin_headers(topic: str, *, partition: int = 0, offset: int, key: str | None = "7") -> dict[str, str]:
    """What daprd says about where a record lay: HTTP headers of a delivery, metadata of a bulk entry."""
    place = {"__topic": topic, "__partition": str(partition), "__offset": str(offset), "__timestamp": "1795475961184"}
    return place if key is None else place | {"__key": quote_plus(key)}


def single_body(value: bytes, topic: str) -> bytes:
    """The body that daprd posts for one record of a raw subscription (seen with 1.16.0)."""
    wrapped = {
        "data_base64": b64encode(value).decode(),
        "datacontenttype": "application/octet-stream",
        "id": "63e3cb66-fb89-43f4-81f8-958bec03b980",
        "pubsubname": "pubsub",
        "source": "Dapr",
        "specversion": "1.0",
        "topic": topic,
        "type": "com.dapr.event.sent",
    }
    return json.dumps(wrapped).encode()


def bulk_body(values: list[bytes], topic: str, *, partition: int = 0, first_offset: int = 0) -> bytes:
    """The body that daprd posts for many records of one partition (seen with 1.16.0)."""
    entries = [
        {
            "entryId": str(index),
            "event": b64encode(value).decode(),
            "metadata": origin_headers(topic, partition=partition, offset=first_offset + index),
            "contentType": "application/octet-stream",
        }
        for index, value in enumerate(values)
    ]
    bulk = {"entries": entries, "id": "x", "metadata": {"pubsubName": "pubsub"}, "pubsubname": "pubsub"}
    return json.dumps(bulk | {"topic": topic, "type": "com.dapr.event.sent.bulk"}).encode()


BAD_BYTES: dict[str, bytes] = {
    "empty": b"",
    "tombstone as Dapr shows it": b"null",
    "a space": b" ",
    "binary": bytes(range(256)),
    "gzip": b"\x1f\x8b\x08\x00\x00\x00\x00\x00",
    "UTF-16": '{"data":{}}'.encode("utf-16"),
    "latin-1": '{"data":"\xe4"}'.encode("latin-1"),
    "a byte order mark": b"\xef\xbb\xbf{}",
    "text": b"hello",
    "a string": b'"hello"',
    "a number": b"42",
    "a huge number": b"9" * 100_000,
    "NaN": b"NaN",
    "NaN inside": b'{"data":{"user_id":NaN}}',
    "infinity inside": b'{"data":{"user_id":-Infinity}}',
    "true": b"true",
    "a list": b"[]",
    "nested lists": b"[" * 10_000 + b"]" * 10_000,
    "nested objects": b'{"data":' * 10_000 + b"1" + b"}" * 10_000,
    "unclosed nesting": b'{"data":[' * 100_000,
    "cut off": b'{"specversion":"1.0","data":{"user_id":',
    "two documents": b"{}{}",
    "trailing comma": b'{"data":{},}',
    "single quotes": b"{'data':{}}",
    "empty object": b"{}",
    "no data": b'{"specversion":"1.0","id":"1"}',
    "null data": b'{"data":null}',
    "list data": b'{"data":[]}',
    "text data": b'{"data":"{}"}',
    "data in base64": b'{"data_base64":"e30="}',
    "numeric trace fields": b'{"specversion":"1.0","traceparent":123,"traceid":456,"tracestate":[1],"data":{}}',
    "expired": b'{"data":{},"expiration":"2001-01-01T00:00:00Z"}',
    "lone surrogate": b'{"data":{"schema_version":"1.0","correlation_id":"\\ud800"}}',
    "NUL in text": b'{"data":{"schema_version":"1.0","correlation_id":"\\u0000"}}',
    "nested schema version": b'{"data":{"schema_version":' + b"[" * 150 + b"]" * 150 + b"}}",
    "a dead letter": b'{"type":"dead-letter","data":{"consumer":"audit","kind":"permanent"}}',
    "more than a letter can hold": b'{"data":"' + b"x" * 1_500_000 + b'"}',
    "a megabyte of text": b'{"data":"' + b"x" * 1_000_000 + b'"}',
    "a megabyte of noise": bytes(range(256)) * 4000,
    "a long id": b'{"id":"' + b"i" * 100_000 + b'","data":{"event_id":"' + b"e" * 100_000 + b'"}}',
    "hostile terminal text": b'{"id":"\\u001b]0;owned\\u0007","data":{"event_type":"\\u001b[2J"}}',
}

_REQUIRED = ("event_type", "user_id", "task_id", "user_seq", "version", "occurred_at", "correlation_id", "payload")
_WRONG: dict[str, Any] = {
    "null": None,
    "an object": {},
    "a list": [1],
    "text": "what",
    "a fraction": 1.5,
    "true": True,
    "a negative": -1,
    "a huge number": 10**300,
}
# Sound enough for pydantic, or for us: no permanent failure.
_FINE = {("correlation_id", "text")}


def _without(name: str) -> Callable[[Envelope], None]:
    return lambda bad: bad["data"].pop(name)


def _with(name: str, value: Any) -> Callable[[Envelope], None]:
    return lambda bad: bad["data"].update({name: value})


def _changes() -> Iterator[tuple[str, Callable[[Envelope], None]]]:
    for name in _REQUIRED:
        yield f"without {name}", _without(name)
        for kind, value in _WRONG.items():
            is_number_field = name in {"user_id", "task_id", "user_seq", "version"}
            is_time = name == "occurred_at"
            # Numbers for times are read as timestamps without a zone; true is not a number, and strings must be strings.
            if (name, kind) in _FINE or (is_time and kind in {"a fraction", "a negative", "true"}):
                continue
            if is_number_field and kind == "true":
                continue
            yield f"{name} is {kind}", _with(name, value)
    yield "no schema version", _without("schema_version")
    versions: tuple[Any, ...] = ("2.0", "", None, 2, [], "0.9", "x" * 1000)
    for version in versions:
        yield f"schema version {str(version)[:5]}", _with("schema_version", version)
    yield "a time without a zone", _with("occurred_at", "2030-01-31T09:00:00")
    yield "an impossible time", _with("occurred_at", "2030-02-30T09:00:00Z")
    yield "another topic's type", _with("event_type", "user.created")
    yield "a bad event id", _with("event_id", "not-a-uuid")
    yield "without an event id", _without("event_id")


def bad_records(topic: str) -> dict[str, bytes]:
    """Name → a record that no retry can save, for a topic of events."""
    records = dict(BAD_BYTES)
    for name, change in _changes():
        bad = copy.deepcopy(envelope(topic))
        change(bad)
        records[name] = json.dumps(bad).encode()
    return records


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


def generated_records() -> st.SearchStrategy[bytes]:
    """Bytes that are no event: noise, JSON of any shape, envelopes with any data."""
    documents = _JSON | st.fixed_dictionaries({"data": _JSON, "id": _JSON, "traceparent": _JSON, "type": _JSON})
    return st.binary(max_size=200) | documents.map(lambda document: json.dumps(document).encode())
