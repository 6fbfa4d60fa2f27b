"""What a trace asks a broker for."""

from __future__ import annotations

from datetime import UTC, datetime
from threading import Barrier
from typing import NoReturn

from tests.unit.sites import CHART
from todoctl.adapters.chart import read_values
from todoctl.errors import UnhealthyError
from todoctl.operations.trace_topics import Topics

GROUPS = ["audit", "notification", "recurring", "sync-replica"]


def test_groups_are_asked_side_by_side() -> None:
    """A broker that is away takes seconds to say so: once, and not for each group."""
    together = Barrier(len(GROUPS))

    def away() -> NoReturn:
        together.wait(20)
        raise UnhealthyError("the broker is away")

    values = read_values(CHART, (CHART / "values-cloud.yaml",))
    topics = Topics(values, away, 10, datetime(2026, 1, 1, tzinfo=UTC), lambda _app: ["replica"])
    assert topics.groups({*values.topics}) == {}
    assert sorted(topics.deaf) == [f"group {name}" for name in GROUPS]
