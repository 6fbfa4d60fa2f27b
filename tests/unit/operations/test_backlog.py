"""The version of what lies on a topic, whoever wrote it and whatever it is."""

from __future__ import annotations

import json
from typing import Any

import pytest

from todoctl.core.events import PROBE_TYPE
from todoctl.operations.kafka.backlog import version_of


def record(version: Any, **envelope: Any) -> bytes:
    """A CloudEvents envelope around data of this version."""
    return json.dumps({"type": "task.created", "data": {"schema_version": version, "title": "x"}} | envelope).encode()


@pytest.mark.parametrize(
    ("value", "version"),
    [
        (record("1.0"), "1"),
        (record("2.13"), "2"),
        (record("17"), "17"),
        (record("1.0", type=PROBE_TYPE), None),
        (record(""), None),
        (record(3), None),
        (record("1.0", data="text"), None),
        (b"garbage", None),
        (b"[]", None),
        (b"[" * 100_000, None),
        (b"", None),
        (None, None),
    ],
    ids=lambda item: repr(item)[:40],
)
def test_the_version_of_a_record(value: bytes | None, version: str | None) -> None:
    """Its major; None where no release could read it anyway, and for an operator's probe."""
    assert version_of(value) == version
