"""Kafka's adapter where no broker is needed: what a member's assignment says, whatever a foreign client put there."""

from __future__ import annotations

import struct

import pytest

from todoctl.adapters.kafka.groups import parse_assignment


def assignment(*topics: tuple[str, tuple[int, ...]]) -> bytes:
    """An assignment as a consumer of the classic protocol has it."""
    data = struct.pack(">hi", 3, len(topics))
    for name, partitions in topics:
        encoded = name.encode()
        data += struct.pack(">h", len(encoded)) + encoded
        data += struct.pack(f">i{len(partitions)}i", len(partitions), *partitions)
    return data + struct.pack(">i", -1)


@pytest.mark.parametrize(
    "topics", [(), (("task-events", (0, 1, 5)),), (("task-events", ()), ("größe", (2,))), (("", (0,)),)]
)
def test_an_assignment_is_read_as_it_was_made(topics: tuple[tuple[str, tuple[int, ...]], ...]) -> None:
    """Every topic with its partitions."""
    held = {name: frozenset(partitions) for name, partitions in topics}
    assert parse_assignment(assignment(*topics)) == held


@pytest.mark.parametrize("length", range(len(assignment(("task-events", (0, 1))))))
def test_an_assignment_that_is_cut_short_is_none(length: int) -> None:
    """Cut anywhere it is nothing; only the user data at its end may be missing."""
    whole = assignment(("task-events", (0, 1)))
    held = parse_assignment(whole[:length])
    assert held == ({"task-events": frozenset({0, 1})} if length >= len(whole) - 4 else {})


@pytest.mark.parametrize(
    "data",
    [
        struct.pack(">hihi", 0, 2**31 - 1, -6, 0) * 3,
        struct.pack(">hihi", 0, 1, 0, -1),
        struct.pack(">hihi", 0, 1, 0, 2**31 - 1),
        struct.pack(">hi", 0, -5),
        struct.pack(">hih", 0, 1, 2) + b"\xff\xfe" + struct.pack(">i", 0),
        b"\xff" * 64,
    ],
)
def test_an_assignment_that_is_none_is_empty(data: bytes) -> None:
    """Counts and lengths that cannot be end at once with nothing."""
    assert parse_assignment(data) == {}
