"""Recurrence by named cases: daylight saving, calendar, ends of a series."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from todoctl.core.recurrence import Occurrence, RecurrenceRule, first_occurrence, next_occurrence, to_local, to_utc

NEW_YORK = "America/New_York"


def wall(text: str) -> datetime:
    """A wall time."""
    return datetime.fromisoformat(text)


def utc(text: str) -> datetime:
    """An instant."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def rule(frequency: str = "daily", **fields: Any) -> RecurrenceRule:
    """A rule, every day if nothing is said."""
    return RecurrenceRule.model_validate({"frequency": frequency} | fields)


def done(nominal: str, zone_name: str) -> Occurrence:
    """An occurrence where its schedule put it."""
    return Occurrence(wall(nominal), to_utc(wall(nominal), zone_name), 1)


def follow(
    repeat: RecurrenceRule, anchor: str, zone_name: str = "UTC", *, nominal: str | None = None, at: str | None = None
) -> tuple[str, str] | None:
    """The nominal and UTC time after an occurrence (the anchor) completed at a UTC time (when due), as text."""
    completed = done(nominal or anchor, zone_name)
    now = utc(at) if at else completed.due
    found = next_occurrence(repeat, anchor=wall(anchor), zone=zone_name, completed=completed, occurred_at=now)
    return (f"{found.nominal:%Y-%m-%dT%H:%M}", f"{found.due:%Y-%m-%dT%H:%M}") if found else None


def series(repeat: RecurrenceRule, anchor: str, zone_name: str, length: int) -> list[Occurrence]:
    """The first occurrences of a series whose tasks are all completed when due."""
    found: Occurrence | None = first_occurrence(repeat, anchor=wall(anchor), zone=zone_name)
    run: list[Occurrence] = []
    while found and len(run) < length:
        run.append(found)
        found = next_occurrence(repeat, anchor=wall(anchor), zone=zone_name, completed=found, occurred_at=found.due)
    return run


class TestDaylightSaving:
    @pytest.mark.parametrize(
        ("zone_name", "anchor", "due"),
        [
            (NEW_YORK, "2025-03-08T02:30", "2025-03-09T07:30"),  # in the gap: shows as 03:30
            (NEW_YORK, "2025-11-01T01:30", "2025-11-02T05:30"),  # comes twice
            ("Europe/London", "2025-03-29T01:30", "2025-03-30T01:30"),
            ("Europe/London", "2025-10-25T01:30", "2025-10-26T00:30"),
            ("Australia/Lord_Howe", "2025-10-04T02:15", "2025-10-04T15:45"),  # half an hour
            ("Australia/Lord_Howe", "2025-04-05T01:45", "2025-04-05T14:45"),
            ("Pacific/Apia", "2011-12-29T09:00", "2011-12-30T19:00"),  # the Friday that never was
            ("America/Sao_Paulo", "2018-11-03T00:00", "2018-11-04T03:00"),  # midnight was skipped
            ("America/Sao_Paulo", "2018-02-16T23:30", "2018-02-18T01:30"),  # the hour before it came twice
            ("America/Sao_Paulo", "2025-11-01T00:00", "2025-11-02T03:00"),  # abolished since
            ("Africa/Cairo", "2024-04-25T00:30", "2024-04-25T22:30"),
            ("Africa/Cairo", "2024-10-30T23:30", "2024-10-31T20:30"),
            ("Africa/Casablanca", "2024-03-09T02:30", "2024-03-10T01:30"),  # Ramadan begins
            ("Africa/Casablanca", "2024-04-13T02:30", "2024-04-14T02:30"),  # and ends
            ("Asia/Kathmandu", "2025-03-08T09:00", "2025-03-09T03:15"),  # +05:45
        ],
    )
    def test_a_daily_task_keeps_its_wall_time(self, zone_name: str, anchor: str, due: str) -> None:
        """A time in a gap moves on by the gap; a time that comes twice is its first coming."""
        tomorrow = wall(anchor) + timedelta(days=1)
        assert follow(rule(), anchor, zone_name) == (f"{tomorrow:%Y-%m-%dT%H:%M}", due)

    def test_the_day_after_a_gap_is_back_on_its_time(self) -> None:
        """02:30 becomes 03:30 on the day of the gap only."""
        days = series(rule(), "2025-03-08T02:30", NEW_YORK, 3)
        assert [to_local(day.due, NEW_YORK) for day in days] == [
            wall("2025-03-08T02:30"),
            wall("2025-03-09T03:30"),
            wall("2025-03-10T02:30"),
        ]

    def test_one_task_stands_for_the_day_that_apia_lost_and_the_next(self) -> None:
        """Both fall on one instant, so the second of them is passed over."""
        days = series(rule(), "2011-12-29T09:00", "Pacific/Apia", 3)
        assert [day.nominal.day for day in days] == [29, 30, 1]
        assert to_local(days[1].due, "Pacific/Apia") == wall("2011-12-31T09:00")

    def test_completed_between_the_nominal_and_the_shifted_time(self) -> None:
        """At 03:10 the 02:30 that the gap moved to 03:30 is still to come."""
        found = follow(rule(), "2025-03-01T02:30", NEW_YORK, at="2025-03-09T07:10")
        assert found == ("2025-03-09T02:30", "2025-03-09T07:30")

    def test_completed_on_the_day_after_the_lost_one(self) -> None:
        """At 08:00 on the 31st in Apia, the 30th's 09:00 is an hour ahead."""
        found = follow(rule(), "2011-12-01T09:00", "Pacific/Apia", at="2011-12-30T18:00")
        assert found == ("2011-12-30T09:00", "2011-12-30T19:00")

    def test_completed_in_the_second_pass_of_an_hour(self) -> None:
        """At the second 01:20 the first 01:30 is over."""
        found = follow(rule(), "2025-11-01T01:30", NEW_YORK, at="2025-11-02T06:20")
        assert found == ("2025-11-03T01:30", "2025-11-03T06:30")


class TestCalendar:
    def test_a_month_end_clamps_and_keeps_the_anchor_day(self) -> None:
        """31 January gives 28 February, 31 March, 30 April, 31 May."""
        days = [found.nominal for found in series(rule("monthly"), "2025-01-31T09:00", NEW_YORK, 5)]
        assert [f"{day:%m-%d}" for day in days] == ["01-31", "02-28", "03-31", "04-30", "05-31"]

    def test_leap_day_yearly(self) -> None:
        """29 February every 12 months is the 28th until the next leap year."""
        days = [found.nominal for found in series(rule("monthly", interval=12), "2024-02-29T09:00", "UTC", 5)]
        assert [f"{day:%Y-%m-%d}" for day in days] == [
            "2024-02-29",
            "2025-02-28",
            "2026-02-28",
            "2027-02-28",
            "2028-02-29",
        ]

    @pytest.mark.parametrize(
        ("repeat", "anchor", "at", "nominal"),
        [
            pytest.param(rule(), "2025-01-01T09:00", "2025-01-10T08:59", "2025-01-10T09:00", id="late-today-ahead"),
            pytest.param(rule(), "2025-01-01T09:00", "2025-01-10T09:00", "2025-01-11T09:00", id="late-strictly-after"),
            pytest.param(
                rule(interval=3), "2025-01-01T09:00", "2025-01-10T12:00", "2025-01-13T09:00", id="daily-phase"
            ),
            pytest.param(
                rule("weekly", interval=2, days_of_week=["fri", "mon"]),
                "2025-01-06T09:00",
                "2025-01-11T12:00",
                "2025-01-20T09:00",
                id="weekly-phase-skips-the-off-week",
            ),
            pytest.param(
                rule("weekly", interval=2, days_of_week=["sun", "mon"]),
                "2025-01-06T09:00",
                "2025-01-07T09:00",
                "2025-01-12T09:00",
                id="a-week-ends-on-sunday",
            ),
            pytest.param(
                rule("weekly", days_of_week=["mon"]), "2025-01-08T09:00", None, "2025-01-13T09:00", id="anchor-off-days"
            ),
            pytest.param(
                rule("monthly", day_of_month=15), "2025-01-10T09:00", None, "2025-01-15T09:00", id="anchor-off-day"
            ),
            pytest.param(
                rule("monthly", interval=3), "2025-01-31T09:00", "2025-06-01T00:00", "2025-07-31T09:00", id="quarterly"
            ),
            pytest.param(
                rule("monthly", day_of_month=31),
                "2025-01-31T09:00",
                "2025-02-28T09:00",
                "2025-03-31T09:00",
                id="last-day",
            ),
            pytest.param(rule(), "2025-01-05T09:00", "2025-01-01T00:00", "2025-01-06T09:00", id="early-daily"),
            pytest.param(rule("weekly"), "2025-01-08T09:00", "2024-12-01T00:00", "2025-01-15T09:00", id="early-weekly"),
        ],
    )
    def test_the_next_occurrence_is_the_first_after_due_and_now(
        self, repeat: RecurrenceRule, anchor: str, at: str | None, nominal: str
    ) -> None:
        """Late passes over what is over, early does not repeat what is done, and the interval keeps its phase."""
        assert follow(repeat, anchor, at=at) == (nominal, nominal)

    @pytest.mark.parametrize(
        ("repeat", "at", "nominal"),
        [
            (rule(interval=3, basis="completion"), "2025-01-20T23:00", "2025-01-23T09:00"),
            (rule(interval=3, basis="completion"), "2025-01-10T08:00", "2025-01-13T09:00"),
            (rule(basis="completion"), "2025-01-14T08:00", "2025-01-15T09:00"),
            (rule("weekly", basis="completion"), "2025-01-17T10:00", "2025-01-24T09:00"),
            (rule("monthly", basis="completion"), "2025-01-31T10:00", "2025-02-28T09:00"),
            (rule("weekly", days_of_week=["wed"], basis="completion"), "2025-01-14T08:00", "2025-01-22T09:00"),
            (
                rule("weekly", interval=2, days_of_week=["wed"], basis="completion"),
                "2025-01-23T08:00",
                "2025-02-05T09:00",
            ),
            (rule("monthly", day_of_month=1, basis="completion"), "2025-01-20T08:00", "2025-02-01T09:00"),
        ],
    )
    def test_from_completion(self, repeat: RecurrenceRule, at: str, nominal: str) -> None:
        """The interval starts over on the day of completion; the time of day stays; named days stay a calendar."""
        assert follow(repeat, "2025-01-15T09:00", at=at) == (nominal, nominal)

    def test_the_day_of_completion_is_the_users_day(self) -> None:
        """03:00 UTC on the 16th is still the 15th in New York."""
        found = follow(rule(basis="completion"), "2025-01-15T09:00", NEW_YORK, at="2025-01-16T03:00")
        assert found == ("2025-01-16T09:00", "2025-01-16T14:00")

    @pytest.mark.parametrize(
        ("due", "nominal"), [("2025-01-05T18:00", "2025-01-13T09:00"), ("2025-01-15T18:00", "2025-01-20T09:00")]
    )
    def test_a_task_moved_by_hand_keeps_its_place_in_the_schedule(self, due: str, nominal: str) -> None:
        """Monday's task moved to Sunday does not come back on Monday; moved past the next Monday it takes that one's place."""
        completed = Occurrence(wall("2025-01-06T09:00"), utc(due), 1)
        found = next_occurrence(
            rule("weekly"),
            anchor=wall("2025-01-06T09:00"),
            zone="UTC",
            completed=completed,
            occurred_at=utc("2025-01-05T12:00"),
        )
        assert found == Occurrence(wall(nominal), utc(nominal), 2)

    def test_a_zone_whose_rules_changed_after_the_due_time_was_stored(self) -> None:
        """The same nominal day is not given out again when its instant moves later."""
        completed = Occurrence(wall("2025-01-06T09:00"), utc("2025-01-06T08:00"), 1)
        found = next_occurrence(
            rule(),
            anchor=wall("2025-01-06T09:00"),
            zone="UTC",
            completed=completed,
            occurred_at=utc("2025-01-06T08:30"),
        )
        assert found
        assert found.nominal == wall("2025-01-07T09:00")

    def test_a_series_moved_by_hand_goes_on_from_its_new_anchor(self) -> None:
        """No day before the new anchor and no hour of the old one."""
        found = follow(rule("weekly", days_of_week=["mon", "fri"]), "2025-02-05T18:00", nominal="2025-01-06T09:00")
        assert found == ("2025-02-07T18:00", "2025-02-07T18:00")


class TestEnd:
    @pytest.mark.parametrize(
        ("until", "last"),
        [
            (date(2025, 1, 3), "2025-01-03T09:00"),
            ("2025-01-03", "2025-01-03T09:00"),
            ("2025-01-03T09:00", "2025-01-03T09:00"),
            ("2025-01-03T08:59:59", "2025-01-02T09:00"),
            ("2025-01-03T00:00", "2025-01-02T09:00"),
        ],
    )
    def test_until_is_the_last_local_time(self, until: date | str, last: str) -> None:
        """A day counts whole and a time counts itself, both in the series' zone."""
        days = series(rule(until=until), "2025-01-01T09:00", "Pacific/Auckland", 99)
        assert days[-1].nominal == wall(last)

    def test_count_is_the_number_of_tasks(self) -> None:
        """The first task counts; what a late completion passes over was never a task and does not."""
        assert [day.index for day in series(rule(count=3), "2025-01-01T09:00", "UTC", 99)] == [1, 2, 3]
        late = next_occurrence(
            rule(count=3),
            anchor=wall("2025-01-01T09:00"),
            zone="UTC",
            completed=done("2025-01-01T09:00", "UTC"),
            occurred_at=utc("2025-02-01T00:00"),
        )
        assert late == Occurrence(wall("2025-02-01T09:00"), utc("2025-02-01T09:00"), 2)

    def test_a_series_that_would_end_before_it_begins_is_refused(self) -> None:
        """The message names both times."""
        with pytest.raises(ValueError, match=r"until 2024-12-31 is before the first occurrence, 2025-01-01 09:00:00"):
            first_occurrence(rule(until="2024-12-31"), anchor=wall("2025-01-01T09:00"), zone="UTC")

    @pytest.mark.parametrize(
        ("repeat", "zone_name", "length"),
        [
            (rule(), "UTC", 12),
            (rule(), NEW_YORK, 11),
            (rule(), "Pacific/Kiritimati", 12),
            (rule("weekly"), "UTC", 2),
            (rule("monthly"), "UTC", 1),
            (rule("monthly", interval=999), "UTC", 1),
        ],
    )
    def test_a_series_ends_with_the_calendar(self, repeat: RecurrenceRule, zone_name: str, length: int) -> None:
        """After the year 9999, in local time or in UTC, nothing follows."""
        assert len(series(repeat, "9999-12-20T23:30", zone_name, 99)) == length

    @pytest.mark.parametrize("frequency", ["daily", "weekly", "monthly"])
    @pytest.mark.parametrize("basis", ["schedule", "completion"])
    def test_centuries_late_is_answered_at_once(self, frequency: str, basis: str) -> None:
        """8,000 years late takes no longer than a day late."""
        repeat = rule(frequency, basis=basis)
        begin = time.process_time()
        for _ in range(100):
            assert follow(repeat, "2000-01-31T09:00", "Europe/Berlin", at="9990-06-30T00:00")
        assert time.process_time() - begin < 1
