"""The next occurrence of a recurring task, computed on wall time in the user's zone.

A series stores its rule, its zone and its anchor (the naive wall time of its first task); a task stores its
`Occurrence`. Everything else is derived, so nothing here reads a clock or keeps state. `docs/decisions/0009-recurrence.md`
says why each rule is as it is.
"""

from __future__ import annotations

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import cache
from typing import Annotated, Literal, get_args
from zoneinfo import ZoneInfo, available_timezones

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, WithJsonSchema, field_validator

Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
WEEK: tuple[Weekday, ...] = get_args(Weekday)

# Real zones, but their meaning belongs to the machine that reads them.
_MACHINE_ZONES = frozenset({"Factory", "localtime"})

# Apia skipped a whole day; no zone ever skipped more. A wall time in the gap lies that far behind its instant.
_LONGEST_GAP_DAYS = 1

_WALL_TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?)?$"

_Count = Annotated[int, Field(strict=True)]
# JSON Schema's "date-time" demands an offset, so the schema gives the pattern instead.
_WallTime = Annotated[date | datetime, WithJsonSchema({"type": "string", "pattern": _WALL_TIME})]


class RecurrenceRule(BaseModel):
    """When a series repeats and when it ends (API field `recurrence_rule`)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    frequency: Literal["daily", "weekly", "monthly"]
    interval: _Count = Field(1, ge=1, le=999, description="Every so many days, weeks (from Monday) or months.")
    days_of_week: tuple[Weekday, ...] | None = Field(
        None, min_length=1, max_length=7, description="Weekly only; without it, the first task's weekday."
    )
    day_of_month: _Count | None = Field(
        None, ge=1, le=31, description="Monthly only, the last day in shorter months; without it, the first task's day."
    )
    until: _WallTime | None = Field(
        None, description="Last local day or wall time an occurrence may have, without an offset."
    )
    count: _Count | None = Field(None, ge=1, le=9999, description="Tasks in the whole series, the first included.")
    basis: Literal["schedule", "completion"] = Field(
        "schedule", description="Keep to the first task's calendar, or restart the interval at each completion."
    )

    @field_validator("days_of_week")
    @classmethod
    def _days_belong_to_weekly(
        cls, days: tuple[Weekday, ...] | None, info: ValidationInfo
    ) -> tuple[Weekday, ...] | None:
        if days and info.data.get("frequency", "weekly") != "weekly":
            raise ValueError("days_of_week goes with frequency weekly only")
        return days and tuple(sorted(set(days), key=WEEK.index))

    @field_validator("day_of_month")
    @classmethod
    def _day_belongs_to_monthly(cls, day: int | None, info: ValidationInfo) -> int | None:
        if day and info.data.get("frequency", "monthly") != "monthly":
            raise ValueError("day_of_month goes with frequency monthly only")
        return day

    @field_validator("until", mode="before")
    @classmethod
    def _until_is_wall_time(cls, value: object) -> object:
        # pydantic would read a number as a timestamp and "2030-01-31T00:00" as the whole of that day.
        until = _parse_wall_time(value) if isinstance(value, str) else value
        if until is None or (isinstance(until, date) and not getattr(until, "tzinfo", None)):
            return until
        raise ValueError("until is a date (2030-01-31) or a local time without an offset (2030-01-31T09:00)")

    @field_validator("count")
    @classmethod
    def _one_end_only(cls, count: int | None, info: ValidationInfo) -> int | None:
        if count and info.data.get("until"):
            raise ValueError("count and until exclude each other")
        return count

    @property
    def last_wall_time(self) -> datetime:
        """The last wall time an occurrence may have; a bare date means the whole of that day."""
        if isinstance(self.until, datetime):
            return self.until
        return datetime.combine(self.until or date.max, time.max)

    @property
    def names_a_day(self) -> bool:
        """Whether the rule itself says which days, rather than taking the anchor's."""
        return self.days_of_week is not None or self.day_of_month is not None


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One turn of a series: its place in the schedule, the instant it is due, its ordinal from 1.

    `nominal` stays when the user moves this one task or when a zone's rules change; `due` is what is shown and
    reminded, and may be moved.
    """

    nominal: datetime
    due: datetime
    index: int

    def __post_init__(self) -> None:
        _require_naive(self.nominal, "nominal")
        _require_aware(self.due, "due")
        if self.index < 1:
            raise ValueError(f"index counts from 1, not {self.index}")


def first_occurrence(rule: RecurrenceRule, *, anchor: datetime, zone: str) -> Occurrence:
    """The series' first task: always the anchor itself, whatever days the rule names."""
    _require_naive(anchor, "anchor")
    if anchor > rule.last_wall_time:
        raise ValueError(f"until {rule.until} is before the first occurrence, {anchor}")
    return Occurrence(nominal=anchor, due=to_utc(anchor, zone), index=1)


def next_occurrence(
    rule: RecurrenceRule, *, anchor: datetime, zone: str, completed: Occurrence, occurred_at: datetime
) -> Occurrence | None:
    """The occurrence that follows a completed one, or None when the series has ended."""
    _require_naive(anchor, "anchor")
    _require_aware(occurred_at, "occurred_at")
    if rule.count is not None and completed.index >= rule.count:
        return None
    start, after, bound = _search_from(rule, anchor, zone, completed, occurred_at)
    while (day := _next_day(rule, start, after)) is not None:
        nominal = datetime.combine(day, anchor.time().replace(fold=0))
        due = _instant(nominal, zone)
        if due is None or nominal > rule.last_wall_time:
            return None
        if due > bound:
            return Occurrence(nominal=nominal, due=due, index=completed.index + 1)
        after = day
    return None


def to_utc(local: datetime, zone_name: str) -> datetime:
    """The instant of a wall time: moved forward by the gap if it never happens, the first one if it happens twice."""
    _require_naive(local, "local")
    instant = _instant(local, zone_name)
    if instant is None:
        raise ValueError(f"{local} in {zone_name} is outside the years 1 to 9999")
    return instant


def to_local(instant: datetime, zone_name: str) -> datetime:
    """The wall time, naive, that a clock in the zone shows at an instant."""
    _require_aware(instant, "instant")
    try:
        return instant.astimezone(zone(zone_name)).replace(tzinfo=None, fold=0)
    except OverflowError as exc:
        raise ValueError(f"{instant} in {zone_name} is outside the years 1 to 9999") from exc


def zone(name: str) -> ZoneInfo:
    """The IANA zone of that exact name; ValueError for anything else, before any file is opened."""
    if name not in _zone_names():
        raise ValueError(f"unknown time zone {name[:64]!r}; use an IANA name such as Europe/Berlin or UTC")
    return ZoneInfo(name)


@cache
def _zone_names() -> frozenset[str]:
    # ZoneInfo itself opens files by the name it is given, directories and other clocks (right/UTC) among them.
    return frozenset(available_timezones()) - _MACHINE_ZONES


def _search_from(
    rule: RecurrenceRule, anchor: datetime, zone_name: str, completed: Occurrence, occurred_at: datetime
) -> tuple[date, date, datetime]:
    """The day the interval counts from, the day to look after, and the instant to be later than."""
    nominal_day = completed.nominal.date()
    if rule.basis == "completion":
        today = to_local(occurred_at, zone_name).date()
        if not rule.names_a_day:
            return today, today, occurred_at
        # Named days are a calendar: Thursday's task done on Tuesday must not come back on that Thursday.
        return today, max(today, nominal_day), max(completed.due, occurred_at)
    bound = max(completed.due, occurred_at)
    # An occurrence nominally before now may still lie ahead of it, pushed there by a gap: begin one gap earlier.
    behind = to_local(bound, zone_name).toordinal() - _LONGEST_GAP_DAYS - 1
    return anchor.date(), date.fromordinal(max(nominal_day.toordinal(), behind)), bound


def _next_day(rule: RecurrenceRule, start: date, after: date) -> date | None:
    """The first day of the schedule from `start` on that is later than `after`; None past the year 9999."""
    first = _period(rule, start)
    steps = max(0, (_period(rule, after) - first) // rule.interval)
    # The period that holds `after` may have no later day; the one after it always has.
    periods = (first + step * rule.interval for step in (steps, steps + 1))
    days = (day for period in periods for day in _days_in(rule, start, period))
    try:
        return next(day for day in days if day > after and day >= start)
    except ValueError:
        return None


def _period(rule: RecurrenceRule, day: date) -> int:
    """The number of the day, the week from Monday, or the month that a day lies in."""
    if rule.frequency == "monthly":
        return day.year * 12 + day.month - 1
    # Ordinal 1 was a Monday.
    return day.toordinal() if rule.frequency == "daily" else (day.toordinal() - 1) // 7


def _days_in(rule: RecurrenceRule, start: date, period: int) -> list[date]:
    """The schedule's days in one period; ValueError past the calendar's end."""
    if rule.frequency == "daily":
        return [date.fromordinal(period)]
    if rule.frequency == "weekly":
        weekdays = [WEEK.index(name) for name in rule.days_of_week or (WEEK[start.weekday()],)]
        return [date.fromordinal(period * 7 + weekday + 1) for weekday in weekdays]
    year, month = divmod(period, 12)
    # Clamped here and never stored, so 31 January gives 28 February and then 31 March again.
    return [date(year, month + 1, min(rule.day_of_month or start.day, monthrange(year, month + 1)[1]))]


def _instant(nominal: datetime, zone_name: str) -> datetime | None:
    # PEP 495: with fold 0 a time in a gap takes the offset from before it, which moves it on by the gap.
    try:
        return nominal.replace(tzinfo=zone(zone_name), fold=0).astimezone(UTC)
    except OverflowError:
        return None


def _parse_wall_time(text: str) -> date | str:
    try:
        if re.fullmatch(_WALL_TIME, text):
            return datetime.fromisoformat(text) if "T" in text else date.fromisoformat(text)
    except ValueError:
        pass  # 30 February looks right and is none; the caller's message serves it too
    return text


def _require_naive(value: datetime, name: str) -> None:
    if value.tzinfo is not None:
        raise ValueError(f"{name} is wall time in the series' zone, so it takes no offset")


def _require_aware(value: datetime, name: str) -> None:
    if value.tzinfo is None:
        raise ValueError(f"{name} is an instant, so it needs an offset")
