"""The shapes of events that need no model: they take what is usual, and nothing that the models refuse."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from pydantic import BaseModel

from services.audit import plain_events
from services.audit.entries import Entry, event_entry, model_entry
from services.audit.plain_events import plain_event
from services.common.delivery import Delivery
from services.common.verdicts import PermanentError
from tests.unit.services.records import EVENT_TOPICS, bad_records, envelope, generated_records, record
from todoctl.core import events
from todoctl.core.dead_letters import Origin

Path = tuple[str | int, ...]

_PAIRS: list[tuple[type, type[BaseModel]]] = [
    (plain_events.PlainSeries, events.SeriesSnapshot),
    (plain_events.PlainTask, events.TaskSnapshot),
    (plain_events.PlainChange, events.TaskChange),
    (plain_events.PlainReminder, events.ReminderDetail),
    (plain_events.PlainTaskEvent, events.TaskEvent),
    (plain_events.PlainReminderEvent, events.ReminderEvent),
    (plain_events.PlainTaskUpdateEvent, events.TaskUpdateEvent),
]
_ODD: tuple[Any, ...] = (
    *(
        None,
        True,
        0,
        1,
        -1,
        1.0,
        1.5,
        1e999,
        2**31,
        2**63 - 1,
        2**63,
        10**5000,
        "",
        "1",
        "\x00",
        "\ud800",
        [],
        {},
        ["x"],
    ),
    *("2030-01-31T09:00:00Z", "2030-01-31T09:00:00.1234567Z", "2030-01-31 09:00:00+00:00", "2030-01-31T09:00:00+23:59"),
    *("0001-01-01T00:00:00+10:00", "9999-12-31T23:59:59-10:00", "2030-02-30T09:00:00Z", "2030-W05-4T09:00:00Z"),
    *("2030-01-31T09:00:00", "1.0", "1.1", "2.0", "task.created", "reminder.sent", "task.sync", "open", "urgent"),
    *("00000000-0000-4000-8000-000000000000", "urn:uuid:00000000-0000-4000-8000-000000000000", "A" * 32),
)


@pytest.mark.parametrize(("shape", "model"), _PAIRS)
def test_a_shape_has_the_fields_of_its_model(shape: type, model: type[BaseModel]) -> None:
    """A field that is missing here would send every event the long way; one too many would hide a mistake."""
    fields = {field.name: field.required for field in structs.fields(shape)}
    assert fields.keys() == model.model_fields.keys()
    for name, field in model.model_fields.items():
        assert fields[name] or not field.is_required(), name


@pytest.mark.parametrize("topic", EVENT_TOPICS)
def test_what_our_services_write_needs_no_model(topic: str) -> None:
    """Whatever daprd adds around it; its data is kept byte for byte."""
    added = {
        "traceparent": "00-a-b-01",
        "traceid": "00-a-b-01",
        "tracestate": "",
        "pubsubname": "pubsub",
        "topic": topic,
    }
    data = envelope(topic, correlation_id="ä\x00\\\t\n\r\u2028\U0001f600")["data"]
    text = json.dumps(data, indent=1)
    value = json.dumps(envelope(topic) | added | {"data": "DATA"}).replace('"DATA"', text).encode()
    plain = plain_event(value, topic)
    assert plain is not None
    assert plain.details == text
    _assert_as_by_the_models(value, topic)


@pytest.mark.parametrize("topic", EVENT_TOPICS)
def test_no_bad_record_fits_a_shape(topic: str) -> None:
    """What the models refuse reaches them."""
    assert {name for name, value in bad_records(topic).items() if plain_event(value, topic)} == set()


@pytest.mark.parametrize("topic", EVENT_TOPICS)
def test_any_field_with_any_odd_value_is_taken_as_the_models_take_it(topic: str) -> None:
    """One change at a time, at every place of an event: also a field that nobody knows, and one twice."""
    for path in [*_paths(envelope(topic)), ("data", "colour"), ("data", "payload", "colour"), ("colour",)]:
        for odd in _ODD:
            made = envelope(topic)
            _put(made, path, odd)
            value = _written(made)
            _assert_as_by_the_models(value, topic)
            _assert_as_by_the_models(value[:-1] + b',"data":{}}', topic)


@settings(max_examples=500, deadline=None)
@given(
    place=st.integers(0), cut=st.integers(0, 3), put=st.binary(max_size=3) | st.sampled_from([b"9", b"[", b'"', b"\\"])
)
def test_bytes_changed_anywhere_are_taken_as_the_models_take_them(place: int, cut: int, put: bytes) -> None:
    """Broken JSON, broken UTF-8, broken values."""
    value = _written(envelope("task-events", event_id="0b6d7d0c-6d0e-4a3c-8a53-7f5d6a0d8b11", correlation_id="ä"))
    start = place % len(value)
    _assert_as_by_the_models(value[:start] + put + value[start + cut :], "task-events")


@settings(deadline=None)
@given(value=generated_records())
def test_anything_at_all_is_taken_as_the_models_take_it(value: bytes) -> None:
    """Noise, and JSON of any shape."""
    _assert_as_by_the_models(value, "reminders")


@pytest.mark.parametrize("topic", ["dlq-events", "no-such-topic"])
def test_other_topics_have_no_shape(topic: str) -> None:
    """Nothing is guessed from the record."""
    assert plain_event(record("task-events"), topic) is None


def _assert_as_by_the_models(value: bytes, topic: str) -> None:
    delivery = Delivery(value, Origin(topic=topic, partition=1, offset=2, key="7"))
    found, expected = _entry(event_entry, delivery), _entry(model_entry, delivery)
    if not isinstance(found, Entry) or not isinstance(expected, Entry):
        assert found == expected, value
        return
    if str(expected.event_id).encode() not in value:
        # The model invents an id for an event without one, another one each time.
        found = found._replace(event_id=expected.event_id)
    assert found._replace(details=None) == expected._replace(details=None), value
    assert json.loads(found.details or "") == json.loads(expected.details or ""), value


def _entry(read: Any, delivery: Delivery) -> Entry | str:
    try:
        entry: Entry = read(delivery)
    except (PermanentError, OverflowError) as error:
        return f"{type(error).__name__}: {error}"
    return entry


def _paths(document: Any, path: Path = ()) -> Iterator[Path]:
    if path:
        yield path
    inner = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for key, value in inner:
        yield from _paths(value, (*path, key))


def _put(document: Any, path: Path, value: Any) -> None:
    for key in path[:-1]:
        document = document[key]
    document[path[-1]] = copy.deepcopy(value)


def _written(document: Any) -> bytes:
    # Python's own writer refuses to show a number of that many digits.
    huge = "9" * 5000
    return json.dumps(_without_huge(document)).replace('"HUGE"', huge).encode()


def _without_huge(document: Any) -> Any:
    if isinstance(document, dict):
        return {key: _without_huge(value) for key, value in document.items()}
    if isinstance(document, list):
        return [_without_huge(value) for value in document]
    return "HUGE" if type(document) is int and document > 2**64 else document
