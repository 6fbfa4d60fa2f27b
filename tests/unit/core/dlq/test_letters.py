"""Reading letters: whoever wrote them, and whatever else lies there."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from todoctl.core.dead_letters import DeadLetter, Origin, to_cloud_event
from todoctl.core.dlq.foreign import Place, Reason
from todoctl.core.dlq.letters import MARK, came_back, digest, digests, hints_of, read_letter, wrapped_value

Headers = tuple[tuple[str, bytes | None], ...]


@dataclass(frozen=True)
class Written:
    """A record as it lies on a dead-letter topic."""

    value: bytes | None = None
    key: bytes | None = b"7"
    headers: Headers = ()
    partition: int = 2
    offset: int = 31
    timestamp_ms: int = 1_700_000_000_000


OURS = DeadLetter(
    letter_id=UUID("7e7f7c1b-2a55-4c8b-9a34-1f1f5d1f0001"),
    consumer="recurring",
    kind="unknown",
    error_class="ZeroDivisionError",
    message="division by zero",
    attempts=5,
    origin=Origin(topic="task-events", partition=3, offset=40, key="7", timestamp_ms=1_699_999_999_000),
    value=b64encode(b'{"id": "e"}').decode(),
    event_id="e",
    event_type="task.completed",
    user_id=7,
    correlation_id="c",
    failed_at=datetime(2026, 11, 25, tzinfo=UTC),
)


def written(letter: DeadLetter, **fields: Any) -> Written:
    """The record that a letter of ours is."""
    return Written(json.dumps(to_cloud_event(letter)).encode(), **fields)


def test_our_own_letter_says_everything() -> None:
    """Reason, origin, what the record said about itself, and its bytes; its headers the consumer never had."""
    letter = read_letter(written(OURS))
    assert (letter.form, letter.name, letter.letter_id) == ("todoctl", "2/31", str(OURS.letter_id))
    assert letter.reason == Reason("recurring", "ZeroDivisionError", "division by zero", "unknown", 5)
    assert letter.origin == Place("task-events", 3, 40, 1_699_999_999_000)
    assert (letter.key, letter.value) == (b"7", b'{"id": "e"}')
    assert letter.hints.user_id == 7
    assert letter.is_whole
    assert not letter.has_headers


def test_the_value_inside_is_found_again_without_reading_the_rest() -> None:
    """What a replay takes out of a letter of ours is what the plan saw in it."""
    record = written(OURS)
    assert wrapped_value(record.value) == read_letter(record).value


@pytest.mark.parametrize(
    "changed",
    [
        {"message": "[value cut to 8 of 900 bytes] too long"},
        {"origin": OURS.origin.model_copy(update={"key": "\\xff\\xfe"})},
        {"origin": OURS.origin.model_copy(update={"key": "k" * 10_000})},
    ],
)
def test_a_letter_that_could_not_hold_everything_is_not_whole(changed: dict[str, Any]) -> None:
    """A cut value, a key that was no text or too long: only the original record has the bytes."""
    assert not read_letter(written(OURS.model_copy(update=changed))).is_whole


def test_daprs_own_letter_is_the_record_with_its_place() -> None:
    """Dapr says where it lay and nothing of why; the record's own headers stay."""
    headers: Headers = (
        ("__topic", b"reminders"),
        ("__partition", b"1"),
        ("__offset", b"12"),
        ("__key", b"7"),
        ("__timestamp", b"1699999999000"),
        ("pubsubName", b"pubsub"),
        ("partitionKey", b"7"),
    )
    letter = read_letter(Written(b'{"id": "x", "type": "reminder.due"}', headers=headers))
    assert letter.form == "dapr"
    assert letter.origin == Place("reminders", 1, 12, 1_699_999_999_000)
    assert letter.reason == Reason()
    assert letter.headers == (("partitionKey", b"7"),)
    assert (letter.hints.event_id, letter.hints.event_type) == ("x", "reminder.due")
    assert letter.has_headers


def test_springs_letter_has_numbers_in_bytes() -> None:
    """Place, cause and group out of the headers that Spring Kafka writes."""
    headers: Headers = (
        ("kafka_dlt-original-topic", b"task-events"),
        ("kafka_dlt-original-partition", (4).to_bytes(4, "big")),
        ("kafka_dlt-original-offset", (77).to_bytes(8, "big")),
        ("kafka_dlt-exception-fqcn", b"org.springframework.kafka.listener.ListenerExecutionFailedException"),
        ("kafka_dlt-exception-cause-fqcn", b"org.example.Broken"),
        ("kafka_dlt-exception-message", b"it broke"),
        ("kafka_dlt-exception-stacktrace", b"at org.example.Main"),
        ("kafka_dlt-original-consumer-group", b"billing"),
        ("own", None),
    )
    letter = read_letter(Written(b"x", headers=headers))
    assert letter.form == "spring"
    assert letter.origin == Place("task-events", 4, 77)
    assert letter.reason == Reason("billing", "Broken", "it broke", code="at org.example.Main")
    assert letter.headers == (("own", None),)


def test_connects_letter_has_numbers_as_text() -> None:
    """Place, connector and exception out of the headers of Kafka Connect."""
    found = {"topic": "t", "partition": "2", "offset": "9", "connector.name": "sink", "exception.class.name": "a.b.Bad"}
    headers = tuple((f"__connect.errors.{name}", value.encode()) for name, value in found.items())
    letter = read_letter(Written(b"x", headers=headers))
    assert (letter.form, letter.origin) == ("connect", Place("t", 2, 9))
    assert (letter.reason.consumer, letter.reason.error_class) == ("sink", "Bad")


@pytest.mark.parametrize(
    "record",
    [
        Written(None),
        Written(b""),
        Written(b"\xff\x00" * 40, key=None),
        Written(b'{"type": "dead-letter"}'),
        Written(b'{"type": "dead-letter", "data": {"value": "!"}}'),
        Written(b'{"type": "dead-letter", "data": []}'),
        Written(b"[" * 100_000),
        Written(b'{"data": {"user_id": true, "event_id": 5}}'),
        Written(b"x", headers=(("__topic", None), ("__offset", b"1"))),
    ],
)
def test_what_is_no_letter_is_one_without_a_reason(record: Written) -> None:
    """Garbage is a letter too: it can be listed, archived and purged, and lay nowhere."""
    letter = read_letter(record)
    assert (letter.form, letter.origin, letter.reason) == ("foreign", None, Reason())
    assert letter.value == record.value


@pytest.mark.parametrize("offset", [b"-1", b"1.5", b"", b" 1", b"9" * 19, "٣".encode(), None])
def test_a_place_that_is_no_number_is_not_known(offset: bytes | None) -> None:
    """Headers are foreign text: only plain digits of 64 bits are an offset."""
    headers: Headers = (("__topic", b"t"), ("__offset", b"1"), ("__partition", offset))
    letter = read_letter(Written(b"x", headers=headers))
    assert letter.origin == Place("t", None, 1)


@given(
    st.binary(max_size=200) | st.none(),
    st.binary(max_size=20) | st.none(),
    st.lists(st.tuples(st.text(max_size=20), st.binary(max_size=20) | st.none()), max_size=5),
)
def test_no_record_can_stop_the_reader(
    value: bytes | None, key: bytes | None, headers: list[tuple[str, bytes | None]]
) -> None:
    """Whatever bytes lie there, reading them gives a letter."""
    letter = read_letter(Written(value, key, tuple(headers)))
    assert letter.digest == digest(key, value, headers)
    assert digests([key, b"k"], [value, b"v"], [headers, None]) == [letter.digest, digest(b"k", b"v", ())]


@pytest.mark.parametrize(
    "other",
    [
        Written(b"ab", b"c"),
        Written(b"a", b"bc"),
        Written(None, b"abc"),
        Written(b"abc", None),
        Written(b"abc", b""),
        Written(b"a", b"b", (("c", b""),)),
        Written(b"a", b"b", (("c", None),)),
        Written(b"a", b"b", (("", b"c"),)),
    ],
)
def test_a_digest_tells_records_apart(other: Written) -> None:
    """A byte that moves between key, value and headers is a change; so is an empty part that becomes none."""
    seen = {digest(item.key, item.value, item.headers) for item in (other, Written(b"", b"abc"), Written(b"abc", b"c"))}
    assert len(seen) == 3


def test_a_mark_counts_how_often_a_record_was_sent() -> None:
    """The highest count wins; what only looks like a mark counts nothing."""
    assert came_back(()) == 0
    assert came_back([(MARK, b"p/0/1/2")]) == 2
    assert came_back([(MARK, b"p/0/1/2"), (MARK, b"q/0/1/3"), (MARK, None), (MARK, b"x/-5"), ("other", b"a/9")]) == 3
    assert read_letter(replace(written(OURS), headers=((MARK, b"p/0/1/2"),))).came_back == 0


def test_hints_are_words_and_numbers_only() -> None:
    """Of what a record says about itself only text and a number are taken, the data before the envelope."""
    value = {"id": "envelope", "type": ["x"], "data": {"event_id": "data", "user_id": 5, "correlation_id": {"a": 1}}}
    hints = hints_of(json.dumps(value).encode())
    assert (hints.event_id, hints.event_type, hints.user_id, hints.correlation_id) == ("data", None, 5, None)
