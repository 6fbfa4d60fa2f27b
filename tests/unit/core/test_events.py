"""What an event may say: bounds of ids, wall times without an offset, versions that are read."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from todoctl.core.events import SeriesSnapshot, UnsupportedVersionError, parse_event

SERIES: dict[str, Any] = {
    "series_id": 1,
    "rule": {"frequency": "daily"},
    "zone": "UTC",
    "anchor": "2030-01-31T10:00:00",
    "due_local": "2030-01-31T10:00:00",
    "index": 1,
}


@pytest.mark.parametrize("name", ["anchor", "due_local"])
def test_a_wall_time_has_no_offset(name: str) -> None:
    """A wall time with an offset is refused: it would be an instant."""
    with pytest.raises(ValidationError, match=name):
        SeriesSnapshot.model_validate(SERIES | {name: "2030-01-31T10:00:00Z"})


@pytest.mark.parametrize("number", [0, -1, 2**63])
def test_an_id_is_a_positive_64_bit_number(number: int) -> None:
    """An id that no database of ours can hold is refused where the event is read."""
    with pytest.raises(ValidationError, match="series_id"):
        SeriesSnapshot.model_validate(SERIES | {"series_id": number})


def test_another_major_version_is_not_guessed_at() -> None:
    """An event of another major schema version is refused as such."""
    with pytest.raises(UnsupportedVersionError, match=r"2\.0"):
        parse_event("task-events", {"data": {"schema_version": "2.0"}})
