"""The fields of a task as a client may write them; what doesn't fit is refused with the field's name."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema

from services.common.moments import Moment
from todoctl.core.recurrence import zone

Priority = Literal["low", "medium", "high", "urgent"]
Status = Literal["open", "completed", "deleted"]

LONGEST_OFFSET = timedelta(days=366)
# The calendar of a series needs room before the year 9999.
LAST_YEAR = 9000
_YEARS = f"the year must be from 1 to {LAST_YEAR - 1} in UTC"

# Half a surrogate pair is no character; neither JSON nor PostgreSQL can carry it.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_CONTROL_IN_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
# Blanks, format characters and others that Unicode has rendered as nothing (Z, Cf, Default_Ignorable_Code_Point), and
# the Braille blank; the page's own check has the same.
_UNSEEN = (
    r"\s\u00ad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    r"\u2028-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
)
_UNSEEN_BEYOND = (
    r"\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_VISIBLE = re.compile(f"[^{_UNSEEN}{_UNSEEN_BEYOND}]")
_DURATION = re.compile(
    r"P(?=[0-9T])(?:(?P<weeks>[0-9]{1,2})W)?(?:(?P<days>[0-9]{1,3})D)?"
    r"(?:T(?=[0-9])(?:(?P<hours>[0-9]{1,4})H)?(?:(?P<minutes>[0-9]{1,6})M)?(?:(?P<seconds>[0-9]{1,8})S)?)?"
)


def one_line(text: str) -> str:
    """`text` without the blanks around it; ValueError if a control character is in it, or nothing that can be seen."""
    if _CONTROL.search(text):
        raise ValueError("control characters, line breaks and lone surrogates are not allowed")
    line = text.strip()
    if line and not _VISIBLE.search(line):
        raise ValueError("needs a character that can be seen")
    return line


def many_lines(text: str) -> str:
    """`text` as it is; ValueError if a control character other than a tab or a line break is in it."""
    if _CONTROL_IN_TEXT.search(text):
        raise ValueError("control characters other than tabs and line breaks, and lone surrogates, are not allowed")
    return text


def parse_duration(value: object) -> timedelta:
    """The time span of an ISO 8601 duration in weeks, days, hours, minutes and seconds.

    Years and months are refused: they have no fixed length.
    """
    if isinstance(value, timedelta):
        return value
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("use an ISO 8601 duration of weeks, days, hours, minutes or seconds, such as PT30M or P1D")
    span = timedelta(**{unit: int(number) for unit, number in match.groupdict().items() if number})
    if span > LONGEST_OFFSET:
        raise ValueError(f"at most {LONGEST_OFFSET.days} days")
    return span


def format_duration(span: timedelta) -> str:
    """The ISO 8601 duration of a whole number of seconds, in its shortest usual form."""
    hours, rest = divmod(span.seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    days = f"{span.days}D" if span.days else ""
    clock = "".join(f"{number}{unit}" for number, unit in ((hours, "H"), (minutes, "M"), (seconds, "S")) if number)
    if not days and not clock:
        return "PT0S"
    return f"P{days}" + (f"T{clock}" if clock else "")


def _instant(moment: datetime) -> datetime:
    try:
        instant = moment.astimezone(UTC)
    except OverflowError as exc:
        raise ValueError(_YEARS) from exc
    if instant.year >= LAST_YEAR:
        raise ValueError(_YEARS)
    return instant


def _known_zone(name: str) -> str:
    zone(name)
    return name


def _distinct(tags: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(tags))


# What the validators say, for readers of the OpenAPI document.
_LINE = {"pattern": rf"^[^\x00-\x1f\x7f-\x9f]*[^{_UNSEEN}\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"}
_LINES = {"pattern": r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$"}
_ZONE: dict[str, Any] = {"format": "iana-time-zone", "examples": ["Europe/Berlin", "UTC"]}
_DURATION_PATTERN = r"^P(?=[0-9T])([0-9]{1,2}W)?([0-9]{1,3}D)?(T(?=[0-9])([0-9]{1,4}H)?([0-9]{1,6}M)?([0-9]{1,8}S)?)?$"

Title = Annotated[str, AfterValidator(one_line), Field(min_length=1, max_length=200, json_schema_extra=_LINE)]
Description = Annotated[str, Field(max_length=10_000, json_schema_extra=_LINES), AfterValidator(many_lines)]
Tag = Annotated[str, AfterValidator(one_line), Field(min_length=1, max_length=50, json_schema_extra=_LINE)]
Tags = Annotated[tuple[Tag, ...], Field(max_length=20), AfterValidator(_distinct)]
Zone = Annotated[str, Field(max_length=64, json_schema_extra=_ZONE), AfterValidator(_known_zone)]
Instant = Annotated[Moment, AfterValidator(_instant)]
Offset = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema(
        {
            "type": "string",
            "format": "duration",
            "pattern": _DURATION_PATTERN,
            "description": "Weeks to seconds, at most 366 days.",
            "examples": ["PT30M", "P1D"],
        }
    ),
]
