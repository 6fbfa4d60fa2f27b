"""Bulk deliveries: whatever one entry is, all others are read as if it were not there."""

from __future__ import annotations

import json
from typing import Any

import pytest

from services.common.delivery import Delivery, read_bulk
from tests.unit.services.records import bulk_body, record
from todoctl.core.dead_letters import Origin

_ODD_ENTRIES: dict[str, Any] = {
    "nothing": None,
    "text": "entry",
    "no event": {"entryId": "1", "metadata": {}},
    "an event that is an object": {"entryId": "1", "event": {"a": 1}, "metadata": {}},
    "an event that is no base64": {"entryId": "1", "event": "no base64!", "metadata": {}},
    "base64 without its end": {"entryId": "1", "event": "eA", "metadata": {}},
    "base64 of another alphabet": {"entryId": "1", "event": "-_-_", "metadata": {}},
    "base64 with a line break": {"entryId": "1", "event": "eHh4\neHh4", "metadata": {}},
    "an id that is a number": {"entryId": 1, "event": "eA==", "metadata": {}},
    "no metadata": {"entryId": "1", "event": "eA=="},
    "metadata that is a list": {"entryId": "1", "event": "eA==", "metadata": []},
    "metadata of numbers": {"entryId": "1", "event": "eA==", "metadata": {"__partition": 1, "__offset": 2}},
}


def _deliveries(*, odd: Any = ...) -> list[Delivery]:
    body = json.loads(bulk_body([b"x", b"", b"\xff\x00", b'{"a":1}'], "task-events", partition=3, first_offset=7))
    if odd is not ...:
        body["entries"].insert(2, odd)
    return read_bulk(json.dumps(body).encode(), "task-events")


def test_each_record_has_its_bytes_and_its_place() -> None:
    """Base64 undone, numbers as numbers."""
    first, *others = _deliveries()
    origin = Origin(topic="task-events", partition=3, offset=7, key="7", timestamp_ms=1795475961184)
    assert first == Delivery(b"x", origin, "0")
    assert [(one.value, one.origin.offset, one.entry_id) for one in others] == [
        (b"", 8, "1"),
        (b"\xff\x00", 9, "2"),
        (b'{"a":1}', 10, "3"),
    ]


@pytest.mark.parametrize("name", _ODD_ENTRIES)
def test_an_odd_entry_changes_nothing_about_the_others(name: str) -> None:
    """It is a record too, which nobody can read."""
    usual, found = _deliveries(), _deliveries(odd=_ODD_ENTRIES[name])
    assert [*found[:2], *found[3:]] == usual


@pytest.mark.parametrize(
    ("metadata", "origin"),
    [
        ({}, {}),
        ({"__partition": "-1", "__offset": "x", "__timestamp": "9" * 19}, {}),
        ({"__partition": "٣", "__offset": "1.0", "__timestamp": ""}, {}),
        ({"__key": "a+b%2Fc%FF", "__offset": "12"}, {"key": "a b/c\\xff", "offset": 12}),
        ({"__key": None, "__topic": 5, "other": []}, {}),
    ],
)
def test_a_place_that_is_none_is_left_out(metadata: dict[str, Any], origin: dict[str, Any]) -> None:
    """Only what the broker can have said is believed."""
    body = {"entries": [{"entryId": "1", "event": "eA==", "metadata": metadata}]}
    assert read_bulk(json.dumps(body).encode(), "t") == [Delivery(b"x", Origin(topic="t", **origin), "1")]


def test_a_large_event_is_read_whole() -> None:
    """Up to the last byte."""
    values = [record("task-events") * 1000, b"x" * 1_000_000]
    assert [one.value for one in read_bulk(bulk_body(values, "task-events"), "task-events")] == values
