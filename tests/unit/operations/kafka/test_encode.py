"""Records as bytes: raw ones exact, JSON that is JSON whatever the record holds, and formats of one's own."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.operations.kafka.messages import message
from todoctl.errors import UsageError
from todoctl.operations.kafka import encode, json_rows

POISON = [
    b"",
    b"text",
    b'say "x"\\',
    b"\x1b[31mred\x1b[0m",
    b"two\nlines",
    b"\xff\xfe",
    "ü\u202e\x85".encode(),
    b"5",
    b"null",
    b'{"a": 1}',
    b'{\n "a":\n [1, 2]\n}',
    b'["\xff"]',
    b'{"big": 123456789012345678901234567890, "exact": 1.10}',
    b'{"n": NaN}',
    b'{"a": "\\ud800"}',
    b'{"a": 1} trailing',
    b"{" * 5000,
    b"[" * 5000 + b"]" * 5000,
    b'{"a":"\x7f\xe2\x80\xae"}',
]


def rows(*values: bytes | None) -> list[dict[str, Any]]:
    """Each value's line, parsed, all encoded in one batch."""
    text = encode.json_encoder()([message(value) for value in values])
    return [json.loads(line) for line in text.decode().split("\n")[:-1]]


@pytest.mark.parametrize("value", POISON, ids=repr)
def test_every_value_becomes_one_line_of_json(value: bytes) -> None:
    """Alone or among others a value gives the same line, which steers no terminal."""
    (alone,) = rows(value)
    assert rows(b'{"a":1}', value, b"text", None)[1] == alone
    line = encode.json_encoder()([message(value)]).decode()
    assert not any(
        ord(character) < 32 or 127 <= ord(character) < 160 or character == "\u202e" for character in line[:-1]
    )


@pytest.mark.parametrize("value", POISON, ids=repr)
def test_nothing_of_a_value_is_lost(value: bytes) -> None:
    """Text is text, a document is itself, and bytes that are no text are in base64."""
    (row,) = rows(value)
    if isinstance(row["value"], dict | list):
        assert row["value"] == json.loads(value)
    elif row["value"] is None:
        assert base64.b64decode(row["value_base64"]) == value
    else:
        assert row["value"].encode() == value


@given(st.lists(st.binary(max_size=40) | st.none(), max_size=20))
def test_a_batch_is_its_records_one_by_one(values: list[bytes | None]) -> None:
    """The quick way over a whole batch gives what the slow way gives."""
    encoder = encode.json_encoder()
    batch = [message(value, key=value, offset=number) for number, value in enumerate(values)]
    assert encoder(batch) == b"".join(encoder([one]) for one in batch)


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(st.lists(st.tuples(_JSON, st.booleans(), st.sampled_from([None, 2]), st.text(max_size=4)), max_size=8))
def test_documents_are_themselves_whatever_stands_beside_them(parts: list[tuple[Any, bool, int | None, str]]) -> None:
    """Also where some are on several lines or not ASCII, and keys of any kind: a line says what the record has."""
    values = [json.dumps(part, ensure_ascii=escaped, indent=indent).encode() for part, escaped, indent, _ in parts]
    batch = [
        message(value, key=key.encode(), partition=3, offset=number, at=number)
        for number, (value, (*_, key)) in enumerate(zip(values, parts, strict=True))
    ]
    found = [json.loads(line) for line in encode.json_encoder()(batch).decode().split("\n")[:-1]]
    assert [row["key"] for row in found] == [key for *_, key in parts]
    assert [(row["partition"], row["offset"], row["timestamp_ms"]) for row in found] == [
        (3, number, number) for number in range(len(batch))
    ]
    for row, value, (part, *_) in zip(found, values, parts, strict=True):
        assert row["value"] == (part if isinstance(part, dict | list) else value.decode())


def test_the_quick_way_is_for_what_it_writes_right() -> None:
    """Keys and documents on one line; with anything else in the batch all of it takes the other way."""
    usual = [message(b'{"a": [1, "x"]}', key=b"user-7"), message(b"[]", key=b"0"), message(b"{}", key=b'"\x01\\')]
    quick = json_rows.lines(usual)
    assert quick == b"".join(encode.json_encoder()([one]) for one in usual)
    assert quick.splitlines()[0] == (
        b'{"topic":"t","partition":0,"offset":0,"timestamp_ms":0,"key":"user-7","value":{"a": [1, "x"]},"headers":[]}'
    )
    for odd in (
        message(b'{\n"a":1}'),
        message(b'{"a":"\x7f"}'),
        message('{"a":"\u202e"}'.encode()),
        message(b'{"a":1'),
        message(b"{" * 5000),
        message(b"5"),
        message(b""),
        message(None),
        message(b"{}", key=None),
        message(b"{}", key="\u202e".encode()),
        message(b"{}", key=b"\xff"),
        message(b"{}", key=b"\x7f"),
        message(b"{}", key=b"a\nb"),
        message(b"{}", headers=[("h", b"1")]),
    ):
        assert json_rows.lines([*usual, odd]) is None


def test_many_records_are_one_piece() -> None:
    """A batch that is encoded in parts has every record once, in its order, with the separator that was asked for."""
    batch = [message(b"{}" if number % 1500 else b"text", offset=number) for number in range(2501)]
    for separator in (b"\n", b",\n"):
        pieces = encode.json_encoder(separator=separator)(batch).split(separator)
        assert [json.loads(piece)["offset"] for piece in pieces[:-1]] == list(range(2501))
        assert pieces[-1] == b""


def test_the_shape_of_a_line() -> None:
    """Where it lies, its time, key, value and headers; names may come twice, and a header may be empty or no text."""
    headers: list[tuple[str, bytes | None]] = [("a", b"1"), ("a", b"{}"), ("b", None), ("c", b"\xff")]
    one = message(b'{"x":1}', topic="t", partition=3, offset=7, at=1_700_000_000_123, headers=headers)
    assert json.loads(encode.json_encoder()([one])) == {
        "topic": "t",
        "partition": 3,
        "offset": 7,
        "timestamp_ms": 1_700_000_000_123,
        "key": "k",
        "value": {"x": 1},
        "headers": [
            {"name": "a", "value": "1"},
            {"name": "a", "value": "{}"},
            {"name": "b", "value": None},
            {"name": "c", "value": None, "value_base64": "/w=="},
        ],
    }


def test_a_batch_of_one_topic_is_the_same() -> None:
    """An encoder that knows the topic writes what one that doesn't writes."""
    batch = [message(b'{"x":1}', offset=7), message(b"text", key=None)]
    for part in (batch, batch[:1]):
        assert encode.json_encoder(topic="t")(part) == encode.json_encoder()(part)


def test_a_tombstone_is_no_value() -> None:
    """Null, and no base64: nothing is there."""
    (row,) = rows(None)
    assert row["value"] is None
    assert "value_base64" not in row


def test_numbers_stay_as_they_are_written() -> None:
    """An embedded document keeps digits that a parser would round."""
    assert b'"big": 123456789012345678901234567890, "exact": 1.10' in encode.json_encoder()([message(POISON[12])])


def test_raw_is_the_bytes() -> None:
    """Values with a line end after each; a tombstone is an empty line."""
    assert encode.raw([message(b"\x1b[31m\xff"), message(None), message(b"")]) == b"\x1b[31m\xff\n\n\n"
    assert encode.raw([message(b"a"), message(b"b")]) == b"a\nb\n"


def test_a_format_of_ones_own() -> None:
    """Every token and escape; what is missing is empty, its length -1."""
    encoder = encode.format_encoder(r"%t/%p@%o %k(%K)=%s(%S) %T %d %h 100%%\n\t\r\0\\")
    one = message(b"\xff", key=b"k", partition=1, offset=2, at=1_700_000_000_123, headers=[("h", b"1"), ("i", None)])
    assert encoder([one, message(None, key=None, at=-1)]) == (
        b"t/1@2 k(1)=\xff(1) 1700000000123 2023-11-14T22:13:20.123Z h=1,i= 100%\n\t\r\0\\"
        b"t/0@0 (-1)=(-1) -1   100%\n\t\r\0\\"
    )


def test_a_format_without_a_token() -> None:
    """The same text for each record."""
    assert encode.format_encoder(r".\n")([message(), message()]) == b".\n.\n"


@pytest.mark.parametrize("text", ["%x", "%", "\\q", "a\\"])
def test_a_format_that_is_none_is_refused(text: str) -> None:
    """The refusal lists what there is."""
    with pytest.raises(UsageError, match="is not one of %t %p"):
        encode.format_encoder(text)


@pytest.mark.parametrize(
    ("timestamp_ms", "text"),
    [(-1, ""), (0, "1970-01-01T00:00:00.000Z"), (2**62, ""), (1_500, "1970-01-01T00:00:01.500Z")],
)
def test_times(timestamp_ms: int, text: str) -> None:
    """ISO 8601 in UTC; a record without a time, or beyond the calendar, has none."""
    assert encode.iso(timestamp_ms) == text
