"""The audit chain: what its verification finds."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from todoctl.core.audit_chain import CHAINED_COLUMNS, GENESIS, Broken, Head, row_hash, verify_chain

Row = dict[str, Any]

_MOMENT = datetime(2030, 1, 31, 9, 0, tzinfo=UTC)


def content(sequence: int) -> Row:
    """The chained columns of an ordinary row."""
    return {
        "topic": "task-events",
        "partition": 3,
        "chain_seq": sequence,
        "record_offset": 100 + sequence,
        "record_key": "7",
        "event_id": UUID(int=sequence),
        "action_type": "task.created",
        "resource_type": "task",
        "resource_id": 40 + sequence,
        "user_id": 7,
        "user_seq": sequence,
        "version": 1,
        "correlation_id": "c-1",
        "timestamp": _MOMENT,
        "recorded_at": _MOMENT + timedelta(seconds=1),
        "details": '{"title":"Milk"}',
        "raw": None,
    }


def chain(length: int) -> tuple[list[Row], Head]:
    """A whole chain of `length` rows and its head."""
    rows, previous = [], GENESIS
    for sequence in range(1, length + 1):
        row = content(sequence)
        row |= {"log_id": 1000 + sequence, "previous_hash": previous, "hash": row_hash(previous, row)}
        rows.append(row)
        previous = row["hash"]
    return rows, Head(chain_seq=length, hash=previous)


def relink(rows: list[Row], start: int) -> None:
    """Make the hashes of the rows from index `start` on consistent again, as a forger would."""
    previous = rows[start - 1]["hash"] if start else GENESIS
    for row in rows[start:]:
        row["previous_hash"] = previous
        row["hash"] = previous = row_hash(previous, row)


@pytest.mark.parametrize("length", [0, 1, 2, 50])
def test_an_untouched_chain_is_whole(length: int) -> None:
    """Rows as they were written pass, the empty chain included."""
    rows, head = chain(length)
    assert verify_chain(rows, head if length else None) is None


_OTHER_VALUES: Row = {
    "topic": "reminders",
    "partition": 4,
    "record_offset": 5,
    "record_key": None,
    "event_id": UUID(int=999),
    "action_type": "task.deleted",
    "resource_type": "reminder",
    "resource_id": None,
    "user_id": 8,
    "user_seq": 77,
    "version": 2,
    "correlation_id": None,
    "timestamp": _MOMENT - timedelta(days=1),
    "recorded_at": _MOMENT,
    "details": '{"title":"Beer"}',
    "raw": b"x",
}


@pytest.mark.parametrize("column", sorted(_OTHER_VALUES))
def test_an_edited_column_is_found_at_its_row(column: str) -> None:
    """A changed value in any column names exactly that row."""
    rows, head = chain(6)
    rows[3][column] = _OTHER_VALUES[column]
    broken = verify_chain(rows, head)
    assert broken is not None
    assert (broken.chain_seq, broken.damage, broken.log_id) == (4, "changed", 1004)


def test_every_column_is_covered_by_an_edit() -> None:
    """The table of edits above leaves no chained column out."""
    assert {*_OTHER_VALUES, "chain_seq"} == set(CHAINED_COLUMNS)


def test_an_edited_row_with_a_new_hash_is_found_at_the_next_row() -> None:
    """A forger who rehashes only the edited row breaks the link of the row after it."""
    rows, head = chain(6)
    rows[2]["details"] = "{}"
    rows[2]["hash"] = row_hash(rows[2]["previous_hash"], rows[2])
    broken = verify_chain(rows, head)
    assert broken is not None
    assert (broken.chain_seq, broken.damage) == (4, "unlinked")


def test_a_chain_rewritten_to_its_end_is_caught_by_the_head() -> None:
    """Even when every later hash is made anew, the head still has the true one."""
    rows, head = chain(6)
    rows[2]["details"] = "{}"
    relink(rows, 2)
    broken = verify_chain(rows, head)
    assert broken is not None
    assert (broken.chain_seq, broken.damage) == (6, "head changed")


@pytest.mark.parametrize("index", [0, 2, 4])
def test_a_deleted_row_is_found(index: int) -> None:
    """A row that is gone from the start or the middle is named by its number."""
    rows, head = chain(6)
    del rows[index]
    broken = verify_chain(rows, head)
    assert broken is not None
    assert (broken.chain_seq, broken.damage, broken.log_id) == (index + 1, "missing", None)


def test_deleted_last_rows_are_found() -> None:
    """A cut tail leaves a consistent chain; the head says what is missing."""
    rows, head = chain(6)
    broken = verify_chain(rows[:4], head)
    assert broken is not None
    assert (broken.chain_seq, broken.damage) == (5, "tail missing")


def test_a_row_deleted_and_the_rest_renumbered_is_found() -> None:
    """Closing the gap by renumbering changes what was hashed."""
    rows, head = chain(6)
    del rows[2]
    for number, row in enumerate(rows, start=1):
        row["chain_seq"] = number
    broken = verify_chain(rows, head)
    assert broken is not None
    assert broken.chain_seq == 3


def test_an_inserted_row_is_found() -> None:
    """A row put in twice under the same number is out of place."""
    rows, head = chain(6)
    rows.insert(3, {**rows[2], "log_id": 2000})
    broken = verify_chain(rows, head)
    assert broken is not None
    assert (broken.chain_seq, broken.damage, broken.log_id) == (3, "out of place", 2000)


def test_a_row_added_at_the_end_is_found() -> None:
    """A forged row after the head is more than the head knows."""
    rows, _ = chain(7)
    _, head = chain(6)
    broken = verify_chain(rows, head)
    assert broken is not None
    assert (broken.chain_seq, broken.damage) == (7, "beyond the head")


def test_a_chain_without_head_but_with_rows_is_found() -> None:
    """Removing the head does not hide anything."""
    rows, _ = chain(2)
    broken = verify_chain(rows, None)
    assert broken is not None
    assert broken.damage == "head missing"


def test_a_chain_rewritten_with_its_head_is_caught_by_what_was_noted() -> None:
    """Who makes every hash anew, the head's too, is given away by a head that was noted elsewhere before."""
    rows, noted = chain(4)
    longer, _ = chain(6)
    longer[1]["details"] = "{}"
    relink(longer, 1)
    head = Head(6, longer[-1]["hash"])
    assert verify_chain(longer, head) is None
    broken = verify_chain(longer, head, known=noted)
    assert broken is not None
    assert (broken.chain_seq, broken.damage, broken.log_id) == (4, "rewritten", 1004)
    honest, end = chain(6)
    assert verify_chain(honest, end, known=noted) is None
    assert verify_chain(rows[:2], Head(2, rows[1]["hash"]), known=noted) == Broken(
        3, "tail missing", "4 rows were noted before; from 3 on they are gone"
    )
    assert verify_chain([], None, known=noted) is not None


def test_swapped_rows_are_found() -> None:
    """Two rows whose contents changed places break at the first of them."""
    rows, head = chain(6)
    first, second = rows[1], rows[4]
    for column in ("event_id", "user_seq", "record_offset", "resource_id"):
        first[column], second[column] = second[column], first[column]
    broken = verify_chain(rows, head)
    assert broken is not None
    assert (broken.chain_seq, broken.damage) == (2, "changed")


def test_rows_of_another_chain_do_not_fit() -> None:
    """A whole chain moved to another partition no longer matches its hashes."""
    rows, head = chain(3)
    for row in rows:
        row["partition"] = 0
    broken = verify_chain(rows, head)
    assert broken is not None
    assert broken.chain_seq == 1


def test_the_same_instant_in_another_zone_is_the_same_content() -> None:
    """A database session in another time zone must not break verification."""
    row = content(1)
    moved = row | {"timestamp": _MOMENT.astimezone(timezone(timedelta(hours=5, minutes=45)))}
    assert row_hash(GENESIS, row) == row_hash(GENESIS, moved)


@given(st.integers(2, 12), st.data())
def test_any_reordering_is_found(length: int, data: st.DataObject) -> None:
    """No permutation of the rows but the true one passes."""
    rows, head = chain(length)
    shuffled = data.draw(st.permutations(rows))
    assert (verify_chain(shuffled, head) is None) == (shuffled == rows)


@given(st.text(), st.text(), st.text(), st.text())
def test_text_cannot_move_between_columns(key: str, kind: str, key2: str, kind2: str) -> None:
    """Two rows have the same hash only if each column is the same."""
    one = content(1) | {"record_key": key, "resource_type": kind}
    two = content(1) | {"record_key": key2, "resource_type": kind2}
    assert (row_hash(GENESIS, one) == row_hash(GENESIS, two)) == ((key, kind) == (key2, kind2))


@settings(deadline=None)
@given(
    st.lists(
        st.none() | st.integers() | st.text() | st.uuids() | st.binary() | st.datetimes(timezones=st.just(UTC)),
        min_size=len(CHAINED_COLUMNS),
        max_size=len(CHAINED_COLUMNS),
    )
)
def test_the_form_that_is_hashed_never_changes(values: list[Any]) -> None:
    """The hash is over compact ASCII JSON of the columns in order, as the standard library's encoder writes it."""
    plain = [
        value.isoformat(timespec="microseconds")
        if isinstance(value, datetime)
        else value.hex()
        if isinstance(value, bytes)
        else str(value)
        if isinstance(value, UUID)
        else value
        for value in values
    ]
    line = json.dumps(plain, separators=(",", ":"), allow_nan=False).encode()
    assert row_hash(GENESIS, dict(zip(CHAINED_COLUMNS, values, strict=True))) == sha256(GENESIS + line).digest()
