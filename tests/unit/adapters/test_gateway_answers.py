"""What the gateway writes into the answer that says which versions a broker speaks."""

from __future__ import annotations

import struct

import pytest

from todoctl.adapters.kafka.gateway import limited

KNOWN = [(0, 3, 13), (1, 4, 17), (3, 0, 13), (10, 0, 6), (18, 0, 4), (60, 0, 2), (22, 0, 5)]
WANTED = [(0, 3, 9), (1, 4, 15), (3, 0, 8), (10, 0, 2), (18, 0, 4), (60, 0, -1), (22, 0, 5)]


def answer(entries: list[tuple[int, int, int]], version: int, *, tags: bytes = b"\x00") -> bytes:
    """ApiVersions' answer: correlation id, error, the ranges, what follows them."""
    packed = [struct.pack(">hhh", *entry) + (tags if version >= 3 else b"") for entry in entries]
    count = bytes([len(entries) + 1]) if version >= 3 else struct.pack(">i", len(entries))
    return struct.pack(">ih", 7, 0) + count + b"".join(packed) + b"the rest"


@pytest.mark.parametrize("version", [0, 2, 3, 4])
def test_nothing_is_newer_than_it_is_known(version: int) -> None:
    """Ranges end where brokers would be named in a form that is not rewritten; the rest is as it was."""
    assert limited(answer(KNOWN, version), version) == answer(WANTED, version)


def test_tags_are_passed_over() -> None:
    """A field that nobody knows yet stays."""
    tags = b"\x01\x05\x03abc"
    assert limited(answer(KNOWN, 3, tags=tags), 3) == answer(WANTED, 3, tags=tags)


def test_a_refusal_has_the_oldest_form() -> None:
    """It passes as it is, and the client asks again."""
    refusal = struct.pack(">ihi", 7, 35, 0)
    assert limited(refusal, 4) == refusal
