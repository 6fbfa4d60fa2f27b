"""A plan's lines as they are read back: many at once, with nothing lost, and by their numbers where they are none."""

from __future__ import annotations

from io import BytesIO

import pytest

from todoctl.core.dlq.plan import Entry
from todoctl.core.dlq.plan_line import Cover, Park, Piece, Replay, pieces, shown_bytes
from todoctl.errors import UsageError


def replayed(
    partition: int, offset: int, digest: str = "d", headers: tuple[tuple[str, bytes | None], ...] = ()
) -> Entry:
    """A letter whose record is re-published."""
    return Entry(partition, offset, digest, "replay", "task-events", 2, b"k", headers, 1)


def read(*lines: bytes) -> list[Piece]:
    """What is in a plan with these lines."""
    return list(pieces(BytesIO(b"".join(lines))))


def places(found: list[Piece]) -> list[tuple[int, list[int]]]:
    """Partition and offsets of each piece."""
    return [(piece.partition, list(piece.offsets)) for piece in found]


# More than is read at once.
MANY = [replayed(0, at).encode() for at in range(2500)]


@pytest.mark.parametrize("key", [b"2", b"\xff", b"", None])
@pytest.mark.parametrize("headers", [(), (("a", b"1"),), (("x", None), ("y", b"\xff"), ("y", b"\x1b"), ("\x1b", b""))])
@pytest.mark.parametrize("to", [None, 0, 5])
def test_a_record_is_read_as_it_was_written(
    key: bytes | None, headers: tuple[tuple[str, bytes | None], ...], to: int | None
) -> None:
    """Bytes that are no text survive the file."""
    entry = Entry(1, 2, "d" * 64, "replay", "task-events", to, key, headers, 3, about={"error": "Bad"})
    (piece,) = read(entry.encode())
    (line,) = piece.lines
    assert isinstance(line, Replay)
    assert (places([piece]), line.letter, line.digest) == ([(1, [2])], "1/2", "d" * 64)
    assert (line.topic, line.partition, shown_bytes(line.key), line.count) == ("task-events", to, key, 3)
    assert [tuple(each) for each in piece.headers] == [headers]


@pytest.mark.parametrize("value", [b"{}", b"\xff", None])
def test_a_value_is_read_as_it_was_written(value: bytes | None) -> None:
    """A tombstone is a value too; without one the letter's own is meant."""
    entry = replayed(0, 1)
    entry.has_value, entry.value, entry.is_wrapped = True, value, True
    plain, given = (piece.lines[0] for piece in read(replayed(1, 1).encode(), entry.encode()))
    assert isinstance(plain, Replay)
    assert isinstance(given, Replay)
    assert (plain.wrapped, isinstance(plain.value, str | None)) == (False, False)
    assert given.wrapped
    assert shown_bytes(given.value) == value  # type: ignore[arg-type]


def test_skipped_letters_are_left_out_and_others_are_told_apart() -> None:
    """Each line keeps its headers, whatever lies between."""
    found = read(
        Entry(0, 1, "d", "skip", because="no origin: it does not say").encode(),
        replayed(0, 2, headers=(("a", b"1"),)).encode(),
        Entry(0, 3, "d", "park", because="came back: 3 times").encode(),
        Entry(0, 4, "d", "cover", "task-events", same_as="0/2").encode(),
        Entry(0, 5, "d", "skip").encode(),
        replayed(0, 9, headers=(("b", b"2"),)).encode(),
    )
    assert places(found) == [(0, [2, 3, 4, 9])]
    assert [type(line) for line in found[0].lines] == [Replay, Park, Cover, Replay]
    assert found[0].headers == [[("a", b"1")], [], [], [("b", b"2")]]
    assert read(Entry(0, 1, "d", "skip").encode()) == read() == []


def test_a_piece_has_letters_of_one_partition_in_ascending_order() -> None:
    """Another partition, an offset that was passed or the same one again begin another piece; empty lines don't matter."""
    order = [(0, 1), (0, 2), (0, 2), (1, 2), (1, 3), (0, 9), (0, 7)]
    lines = [replayed(*place).encode() for place in order]
    wanted = [(0, [1, 2]), (0, [2]), (1, [2, 3]), (0, [9]), (0, [7])]
    assert places(read(*lines)) == wanted
    alone = read(*lines, b"\n  \n", lines[0].rstrip())
    assert [place for partition, offsets in places(alone) for place in [(partition, at) for at in offsets]] == [
        *order,
        (0, 1),
    ]


def test_pieces_are_cut_and_chosen_from() -> None:
    """Lines, offsets and headers stay together."""
    (piece,) = read(*(replayed(0, at, str(at), (("h", b"%d" % at),)).encode() for at in range(5)))
    for found, wanted in ((piece.part(1, 3), [1, 2]), (piece.only([True, False, False, True, False]), [0, 3])):
        assert list(found.offsets) == wanted
        assert [line.digest for line in found.lines] == [str(at) for at in wanted]
        assert [headers[0][1] for headers in found.headers] == [b"%d" % at for at in wanted]


@pytest.mark.parametrize(
    "line",
    [
        b"x",
        b"[]",
        b"{}",
        b"\xff",
        b'{"letter": "0", "digest": "d", "do": "skip"}',
        b'{"letter": "0/1/2", "digest": "d", "do": "skip"}',
        b'{"letter": "0/1,2/3", "digest": "d", "do": "skip"}',
        b'{"letter": "0/01", "digest": "d", "do": "skip"}',
        b'{"letter": "0/-1", "digest": "d", "do": "skip"}',
        b'{"letter": "0/\xd9\xa3", "digest": "d", "do": "skip"}',
        b'{"letter": "0/1", "digest": "d", "do": "explode"}',
        b'{"letter": "0/1", "digest": "d", "do": "replay", "topic": "t", "partition": -1, "key": null, "headers": [], "count": 1}',
        b'{"letter": "0/1", "digest": "d", "do": "replay", "topic": "t", "partition": true, "key": null, "headers": [], "count": 1}',
        b'{"letter": "0/1", "digest": "d", "do": "replay", "topic": "t", "partition": 1, "key": {"base64": "!"}, "headers": [], "count": 1}',
        b'{"letter": "0/1", "digest": "d", "do": "replay", "topic": "t", "partition": 1, "key": null, "headers": [["a"]], "count": 1}',
        b'{"letter": "0/1", "digest": "d", "do": "replay", "topic": "t", "partition": 1, "key": null, "headers": [["a", 1]], "count": 1}',
        b'{"letter": "0/1", "digest": "d", "do": "replay", "topic": "t", "partition": 1, "headers": [], "count": 1}',
        b'{"letter": "0/1", "digest": "d", "do": "replay", "topic": "t", "partition": 1, "key": null, "count": 1}',
        b'{"letter": "0/1", "digest": "d", "do": "replay", "topic": "t", "key": null, "headers": [], "count": 1}',
        b'{"letter": "0/1", "digest": "d", "do": "replay", "topic": "t", "partition": 1, "key": null, "headers": [], "count": 1, "value": "v"}',
        b'{"letter": "0/1", "digest": "d", "do": "cover", "topic": "t"}',
        b'{"letter": "0/1", "digest": "d", "do": "skip"} {"letter": "0/2", "digest": "d", "do": "skip"}',
    ],
)
def test_a_line_that_is_none_is_named(line: bytes) -> None:
    """By its number, wherever it stands: the header is the first line."""
    for at in (0, 4, len(MANY)):
        with pytest.raises(UsageError, match=f"line {at + 2} of the plan is no entry"):
            read(*MANY[:at], line + b"\n", *MANY[at:])


def test_an_entry_over_two_lines_is_none() -> None:
    """A plan is reviewed line by line."""
    with pytest.raises(UsageError, match="line 2 of the plan is no entry"):
        read(replayed(0, 1).encode().replace(b",", b",\n", 1))
