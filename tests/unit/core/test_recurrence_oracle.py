"""Recurrence against an independent oracle, and by its properties."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.core.recurrence_oracle import Case, cases, expected, zones_with_transitions
from todoctl.core.recurrence import (
    WEEK,
    Occurrence,
    RecurrenceRule,
    first_occurrence,
    next_occurrence,
    to_local,
    to_utc,
)


class TestOracle:
    def test_every_zone_and_rule_agrees_with_dateutil_and_a_day_walker(self, pytestconfig: pytest.Config) -> None:
        """Around each zone's transitions, two independent answers and the core's are one, in all situations that matter."""
        number, seed = pytestconfig.option.recurrence_cases, pytestconfig.option.recurrence_seed
        zones, seen, asked = zones_with_transitions(), Counter[str](), set[str]()
        for case in cases(number, seed, zones):
            by_dateutil, by_walking = expected(case)
            found = ask(case)
            assert found == by_dateutil == by_walking, (
                f"{case}; --recurrence-seed={seed}\n  core {found}\n  dateutil {by_dateutil}\n  walker {by_walking}"
            )
            asked.add(case.zone.name)
            seen.update(situations(case, found))
        assert len(asked) == min(number, len(zones))
        # A generator that stopped producing one of these would let its bugs through in silence.
        assert number < 20_000 or all(seen[name] > number / 500 for name in SITUATIONS), seen

    def test_the_oracle_reads_more_than_300_zones(self) -> None:
        """The zones with a transition between 2000 and 2037 are found, links among them, and the fixed ones are not."""
        names = {zone.name for zone in zones_with_transitions()}
        assert len(names) > 300
        assert {"America/New_York", "US/Eastern", "Pacific/Apia", "Australia/Lord_Howe", "Africa/Casablanca"} <= names
        assert not names & {"UTC", "Asia/Tokyo", "Asia/Kathmandu"}


SITUATIONS = ["early", "on time", "late", "gap", "overlap", "clamped", "ended", "moved", "completion"]


def ask(case: Case) -> Occurrence | None:
    """The core's answer."""
    return next_occurrence(
        case.rule,
        anchor=case.anchor,
        zone=case.zone.name,
        completed=case.completed,
        occurred_at=case.occurred_at,
    )


def situations(case: Case, found: Occurrence | None) -> list[str]:
    """What makes a case worth asking; all of `SITUATIONS` must come up."""
    late = case.occurred_at - case.completed.due
    names = ["late" if late > timedelta(hours=2) else "on time" if late >= timedelta(0) else "early", case.rule.basis]
    if case.zone.instant(case.completed.nominal) != case.completed.due:
        names.append("moved")
    if found is None:
        return [*names, "ended"]
    if case.zone.wall(found.due) != found.nominal:
        names.append("gap")
    if any(case.zone.wall(found.due + timedelta(minutes=later)) == found.nominal for later in (30, 60)):
        names.append("overlap")
    if case.rule.frequency == "monthly" and found.nominal.day < (case.rule.day_of_month or case.anchor.day):
        names.append("clamped")
    return names


ZONES = [
    "America/New_York",
    "Europe/Dublin",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Africa/Casablanca",
    "America/Sao_Paulo",
]
zone_names = st.sampled_from([*ZONES, "America/Nuuk", "Antarctica/Troll", "Asia/Gaza", "UTC"])
wall_times = st.datetimes(datetime.fromisoformat("1970-01-01"), datetime.fromisoformat("2100-01-01"))
lateness = st.timedeltas(-timedelta(days=4000), timedelta(days=40_000))


@st.composite
def rules(draw: st.DrawFn) -> RecurrenceRule:
    """Rules without an end, on the schedule."""
    frequency = draw(st.sampled_from(["daily", "weekly", "monthly"]))
    fields: dict[str, Any] = {"interval": draw(st.integers(1, 999))}
    if frequency == "weekly":
        fields["days_of_week"] = draw(st.none() | st.lists(st.sampled_from(WEEK), min_size=1, max_size=7))
    if frequency == "monthly":
        fields["day_of_month"] = draw(st.none() | st.integers(1, 31))
    return RecurrenceRule(frequency=frequency, **fields)


class TestProperties:
    @given(rules(), zone_names, wall_times, lateness)
    def test_next_is_later_than_due_and_now(
        self, repeat: RecurrenceRule, zone_name: str, anchor: datetime, late: timedelta
    ) -> None:
        """On the schedule, however early or late, the next occurrence lies ahead of both and keeps its wall time."""
        first = first_occurrence(repeat, anchor=anchor, zone=zone_name)
        now = first.due + late
        found = next_occurrence(repeat, anchor=anchor, zone=zone_name, completed=first, occurred_at=now)
        assert found
        assert found.due > max(first.due, now)
        assert found.nominal > first.nominal
        assert (found.nominal.time(), found.index) == (anchor.time(), 2)

    @given(rules(), zone_names, wall_times, st.lists(lateness, max_size=8))
    def test_a_series_only_moves_forward(
        self, repeat: RecurrenceRule, zone_name: str, anchor: datetime, lates: list[timedelta]
    ) -> None:
        """Whenever its tasks are completed, instants and nominal times grow and ordinals count by one."""
        current: Occurrence | None = first_occurrence(repeat, anchor=anchor, zone=zone_name)
        for late in lates:
            assert current
            now = current.due + late
            found = next_occurrence(repeat, anchor=anchor, zone=zone_name, completed=current, occurred_at=now)
            assert found
            assert (found.due > current.due, found.nominal > current.nominal) == (True, True)
            assert found.index == current.index + 1
            current = found

    @given(rules(), zone_names, wall_times, lateness, lateness)
    def test_later_completion_never_gives_an_earlier_occurrence(
        self, repeat: RecurrenceRule, zone_name: str, anchor: datetime, one: timedelta, other: timedelta
    ) -> None:
        """The answer grows with the time of completion."""
        first = first_occurrence(repeat, anchor=anchor, zone=zone_name)
        sooner, later = (
            next_occurrence(repeat, anchor=anchor, zone=zone_name, completed=first, occurred_at=first.due + late)
            for late in sorted([one, other])
        )
        assert sooner
        assert later
        assert sooner.due <= later.due

    @given(zone_names, wall_times, lateness, st.integers(1, 31))
    def test_the_anchor_day_is_kept(self, zone_name: str, anchor: datetime, late: timedelta, day: int) -> None:
        """A monthly occurrence is on its day, or on the last of a month that lacks it."""
        first = first_occurrence(RecurrenceRule(frequency="monthly"), anchor=anchor, zone=zone_name)
        for repeat, wanted in [
            (RecurrenceRule(frequency="monthly"), anchor.day),
            (RecurrenceRule(frequency="monthly", day_of_month=day), day),
        ]:
            found = next_occurrence(
                repeat, anchor=anchor, zone=zone_name, completed=first, occurred_at=first.due + late
            )
            assert found
            tomorrow = found.nominal + timedelta(days=1)
            assert found.nominal.day == wanted or (found.nominal.day < wanted and tomorrow.day == 1)

    @given(rules(), zone_names, wall_times, lateness)
    def test_from_completion_lies_ahead_of_it(
        self, repeat: RecurrenceRule, zone_name: str, anchor: datetime, late: timedelta
    ) -> None:
        """Counted from completion, the next occurrence is on a later local day than the completion."""
        repeat = repeat.model_copy(update={"basis": "completion"})
        first = first_occurrence(repeat, anchor=anchor, zone=zone_name)
        now = first.due + late
        found = next_occurrence(repeat, anchor=anchor, zone=zone_name, completed=first, occurred_at=now)
        assert found
        assert found.due > now
        assert found.nominal.date() > to_local(now, zone_name).date()
        assert found.nominal.time() == anchor.time()

    @given(zone_names, wall_times, st.integers(0, 1))
    def test_an_instant_shows_an_existing_wall_time(self, zone_name: str, local: datetime, fold: int) -> None:
        """What a wall time becomes can be shown and read back; a fold changes nothing."""
        instant = to_utc(local.replace(fold=fold), zone_name)
        shown = to_local(instant, zone_name)
        assert to_utc(shown, zone_name) == instant
        assert timedelta(0) <= shown - local <= timedelta(days=1)
