"""Places in a topic as people write them, and tokens that resume a reading."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from todoctl.core.positions import (
    BEGINNING,
    END,
    Position,
    Resume,
    is_topic_name,
    parse_moment,
    parse_position,
    parse_resume,
)

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
NOON = round(NOW.timestamp() * 1000)


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ("beginning", BEGINNING),
        ("earliest", BEGINNING),
        ("end", END),
        ("latest", END),
        ("0", Position("offset", 0)),
        ("1200", Position("offset", 1200)),
        ("15m", Position("time", NOON - 900_000)),
        ("500ms", Position("time", NOON - 500)),
        ("1d", Position("time", NOON - 86_400_000)),
        ("2026-11-25T12:00:00Z", Position("time", NOON)),
        ("2026-11-25 12:00", Position("time", NOON)),
        ("2026-11-25T13:00+01:00", Position("time", NOON)),
        ("2026-11-25", Position("time", NOON - 43_200_000)),
        ("1969-01-01", Position("time", 0)),
    ],
)
def test_a_place_is_understood(text: str, position: Position) -> None:
    """Names, offsets, times (UTC without a zone) and durations, which are that long ago."""
    assert parse_position(text, NOW) == position


@pytest.mark.parametrize("text", ["", "soon", "-5", "1.5", "2026-13-01", "٣", "9" * 19])
def test_what_is_no_place_is_refused(text: str) -> None:
    """The refusal says what may be written."""
    with pytest.raises(ValueError, match="write beginning, end, an offset, an ISO time, or how long ago"):
        parse_position(text, NOW)


@pytest.mark.parametrize("text", ["99999999999d", "9" * 17 + "d"])
def test_a_time_before_all_time_is_refused(text: str) -> None:
    """A duration that no calendar reaches ends in words."""
    with pytest.raises(ValueError, match="further back than time can be written"):
        parse_position(text, NOW)


NAMES = st.text("abcXYZ09._-", min_size=1, max_size=20)
IDS = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-", min_size=1, max_size=22)


@given(
    st.dictionaries(st.tuples(NAMES, st.integers(0, 999)), st.integers(0, 2**63 - 1), min_size=1, max_size=20),
    IDS,
    st.lists(st.none() | IDS, min_size=20, max_size=20),
)
def test_a_token_says_what_it_was_made_of(
    offsets: dict[tuple[str, int], int], cluster: str, some: list[str | None]
) -> None:
    """Whatever a reading prints, the next one understands."""
    topics = sorted({topic for topic, _ in offsets})
    token = Resume(cluster, offsets, {topic: one for topic, one in zip(topics, some, strict=False) if one})
    assert parse_resume(str(token)) == token


@pytest.mark.parametrize(
    "text", ["", "x", "a@0:1", "a@0:1#", "a@#c", "a@0#c", "a@0:-1#c", "a@0:1,#c", "a b@0:1#c", "a@0:1~#c"]
)
def test_a_token_that_is_none_is_refused(text: str) -> None:
    """A cut or invented token is not guessed at."""
    with pytest.raises(ValueError, match="not what an earlier reading printed"):
        parse_resume(text)


@pytest.mark.parametrize(
    ("name", "is_one"), [("a", True), ("a.b_c-1", True), ("", False), (".", False), ("..", False), ("ä", False)]
)
def test_topic_names(name: str, is_one: bool) -> None:
    """What Kafka takes as a topic's name."""
    assert is_topic_name(name) == is_one


@pytest.mark.parametrize("text", ["2026-11-25T12:00:00CET", "2026-11-25T12:00:00+2", "2026-11-25 noon", "-5m", "1200"])
def test_no_part_of_a_time_is_passed_over(text: str) -> None:
    """A zone that isn't understood would be hours."""
    with pytest.raises(ValueError, match="is no time"):
        parse_moment(text, NOW)
