"""Fields: durations, tags and texts as they are read and shown again."""

from __future__ import annotations

import unicodedata
from datetime import timedelta

import pytest
from pydantic import ValidationError

from services.api.fields import format_duration, parse_duration
from services.api.schemas import NewTask, TaskQuery


@pytest.mark.parametrize(
    ("text", "span", "shown"),
    [
        ("PT0S", timedelta(), "PT0S"),
        ("P0D", timedelta(), "PT0S"),
        ("PT15M", timedelta(minutes=15), "PT15M"),
        ("PT90M", timedelta(minutes=90), "PT1H30M"),
        ("PT36H", timedelta(hours=36), "P1DT12H"),
        ("P1W", timedelta(days=7), "P7D"),
        ("P2W1DT1H1M1S", timedelta(days=15, hours=1, minutes=1, seconds=1), "P15DT1H1M1S"),
        ("P366D", timedelta(days=366), "P366D"),
    ],
)
def test_a_duration_is_shown_in_one_form(text: str, span: timedelta, shown: str) -> None:
    """Equal durations look equal, and what is shown reads as the same span."""
    assert parse_duration(text) == span
    assert format_duration(span) == shown
    assert parse_duration(shown) == span


@pytest.mark.parametrize(
    "text", ["", "P", "PT", "P1", "1D", "P1.5D", "PT-5M", "P1DT", "pt5m", "P1M", "P\N{ARABIC-INDIC DIGIT ONE}D", "P1D "]
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    """Years, months, fractions, signs and other digits are no durations here."""
    with pytest.raises(ValueError, match="ISO 8601"):
        parse_duration(text)


def test_texts_and_tags_are_tidied() -> None:
    """Blanks around a line go, repeated tags go, the text of a description stays."""
    task = NewTask.model_validate({"title": "  a b ", "description": " x\n\ty ", "tags": [" a", "b", "a "]})
    assert (task.title, task.description, task.tags) == ("a b", " x\n\ty ", ("a", "b"))


@pytest.mark.parametrize("title", ["a\u200b", "\u202bא\u202c", "👩\u200d🚀", "❤\ufe0f", "\u0301", "\U0010ffff"])
def test_a_title_with_something_to_see_keeps_its_format_characters(title: str) -> None:
    """Joiners, direction marks and variation selectors have a use beside other characters; what is unknown may be new."""
    assert NewTask.model_validate({"title": title}).title == title


def test_what_unicode_calls_blank_or_format_is_no_title() -> None:
    """Alone, each of them is refused in words that say what is missing."""
    kinds = {"Zs", "Zl", "Zp", "Cf"}
    unseen = [char for char in map(chr, range(0x110000)) if unicodedata.category(char) in kinds]
    refused = [char for char in unseen if _refusal(char)]
    assert refused == unseen
    assert _refusal("\u200b") == "Value error, needs a character that can be seen"


def test_a_year_that_no_instant_here_has_is_told_in_years() -> None:
    """Before the first year as well as after the last."""
    for moment in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59Z"):
        with pytest.raises(ValidationError, match="the year must be from 1 to 8999 in UTC"):
            NewTask.model_validate({"title": "a", "due_date": moment})


def _refusal(title: str) -> str:
    try:
        NewTask(title=title)
    except ValidationError as error:
        return str(error.errors()[0]["msg"])
    return ""


def test_lengths_count_characters() -> None:
    """200 characters outside the basic plane are 200 characters."""
    assert NewTask.model_validate({"title": "\N{GRINNING FACE}" * 200}).title == "\N{GRINNING FACE}" * 200


@pytest.mark.parametrize("text", ["2030-01-31T09:00:00 01:00", "2030-01-31T09:00 0100", "2030-01-31 09:00:00.5 01:00"])
def test_a_plus_that_a_query_made_a_blank_is_explained(text: str) -> None:
    """Who writes an offset into an address as it is, is told how."""
    with pytest.raises(ValidationError, match="%2B"):
        TaskQuery.model_validate({"due_from": text})
