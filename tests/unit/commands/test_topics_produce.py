"""What `topics produce` takes as input."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.program import Program


@pytest.mark.parametrize(
    ("how", "place"), [((), "/dev/zero line 1"), (("--whole",), "/dev/zero")], ids=["lines", "whole"]
)
def test_an_endless_record_is_refused_before_it_is_the_whole_memory(
    tmp_path: Path, how: tuple[str, ...], place: str
) -> None:
    """No topic takes it, however long one reads on."""
    ended = Program(tmp_path).inside("topics", "produce", "task-events", "--check", "--raw", *how, "/dev/zero")
    assert (ended.code, ended.out) == (2, ""), ended
    assert f"✗ {place}: it is longer than 104857600 bytes, which no topic takes" in ended.err
