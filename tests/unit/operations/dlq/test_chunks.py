"""What is kept of letters at once."""

from __future__ import annotations

from todoctl.operations.dlq.planning import chunks


def test_letters_are_taken_in_lists_of_a_size() -> None:
    """All of them, in their order; of nothing there is no list."""
    assert list(chunks(range(7), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(chunks([], 3)) == []


def test_large_letters_are_taken_fewer_at_once() -> None:
    """Five thousand of ten megabytes would be the whole memory: a list ends when it weighs enough."""
    sizes = [10 * 2**20] * 5 + [1] * 4
    found = list(chunks(sizes, 5000, lambda size: size))
    assert [len(chunk) for chunk in found] == [2, 2, 5]
    assert [size for chunk in found for size in chunk] == sizes
