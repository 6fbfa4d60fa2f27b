"""Answers that owe nothing to `todoctl.core.recurrence`, and the cases to ask both about.

Three things are written a second time, differently: time zones (this file reads the zone files itself and looks a wall
time up in a table of local intervals, instead of `zoneinfo` and `fold`), the schedule (python-dateutil, and a walker
that goes day by day), and the search (from the series' first day on, instead of jumping near the answer).
"""

from __future__ import annotations

import itertools
import random
import re
import struct
import zoneinfo
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from importlib import resources
from pathlib import Path
from typing import Any

from dateutil import rrule

from todoctl.core.recurrence import WEEK, Occurrence, RecurrenceRule

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 (naive on purpose, as all wall times are)
DAY = timedelta(days=1)
FROM, TO = datetime(2000, 1, 1), datetime(2038, 1, 1)  # noqa: DTZ001


@dataclass(frozen=True)
class Zone:
    """A zone as a table: from `starts[i]` (Unix seconds) on, clocks are `offsets[i]` seconds ahead of UTC."""

    name: str
    starts: list[int]
    offsets: list[int]

    def instant(self, wall: datetime) -> datetime:
        """The first instant whose clock shows the wall time, or the one that lies as far behind the gap."""
        local = round((wall - EPOCH).total_seconds())
        # No clock is more than 26 hours off, so the walk begins before any interval that could hold it.
        at = bisect_right(self.starts, local - 26 * 3600) - 1
        while at + 1 < len(self.starts):
            end = self.starts[at + 1]
            if local < end + self.offsets[at] or local < end + self.offsets[at + 1]:
                break
            at += 1
        return (EPOCH + timedelta(seconds=local - self.offsets[at])).replace(tzinfo=UTC)

    def wall(self, instant: datetime) -> datetime:
        """What the clock shows."""
        seconds = instant.timestamp()
        return instant.replace(tzinfo=None) + timedelta(seconds=self.offsets[bisect_right(self.starts, seconds) - 1])

    def transitions(self) -> list[tuple[datetime, int, int]]:
        """The changes of offset between 2000 and 2037: instant (naive UTC), offset before, offset after."""
        moments = [EPOCH + timedelta(seconds=start) for start in self.starts[1:]]
        changes = zip(moments, self.offsets, self.offsets[1:], strict=False)
        return [change for change in changes if FROM <= change[0] < TO and change[1] != change[2]]


def zones_with_transitions() -> list[Zone]:
    """Every named zone whose offset changes at least once between 2000 and 2037."""
    names = sorted(zoneinfo.available_timezones() - {"Factory", "localtime"})
    return [zone for zone in map(read_zone, names) if zone.transitions()]


def read_zone(name: str) -> Zone:
    """A zone from its TZif file (RFC 9636), the one `zoneinfo` would open, with its closing rule written out to 2100."""
    raw = _zone_file(name)
    assert raw[:5] >= b"TZif2", f"{name}: not a version 2 file"
    isut, isstd, leap, moments, types, chars = struct.unpack(">6l", raw[20:44])
    second = 44 + moments * 5 + types * 6 + chars + leap * 8 + isstd + isut
    isut, isstd, leap, moments, types, chars = struct.unpack(">6l", raw[second + 20 : second + 44])
    at = second + 44
    starts = list(struct.unpack(f">{moments}q", raw[at : at + moments * 8]))
    kinds = raw[at + moments * 8 : at + moments * 9]
    table = at + moments * 9
    of_kind = [struct.unpack(">l", raw[table + 6 * i : table + 6 * i + 4])[0] for i in range(types)]
    footer = raw[table + types * 6 + chars + leap * 12 + isstd + isut :].strip(b"\n").decode()
    starts, offsets = [-(2**62), *starts], [of_kind[0], *(of_kind[kind] for kind in kinds)]
    for start, offset in _written_out(footer, starts[-1]):
        starts.append(start)
        offsets.append(offset)
    return Zone(name, starts, offsets)


def _zone_file(name: str) -> bytes:
    for folder in zoneinfo.TZPATH:
        path = Path(folder) / name
        if path.is_file():
            return path.read_bytes()
    return resources.files("tzdata.zoneinfo").joinpath(name).read_bytes()


_NAME = r"(?:<[^>]+>|[A-Za-z]+)"
_FOOTER = re.compile(rf"{_NAME}([-+:\d]+)(?:{_NAME}([-+:\d]*),([^,]+),([^,]+))?")


def _written_out(footer: str, after: int) -> Iterator[tuple[int, int]]:
    """The changes that a POSIX rule such as `EST5EDT,M3.2.0,M11.1.0` makes after the last listed one."""
    found = _FOOTER.fullmatch(footer)
    assert found, f"unread rule {footer!r}"
    standard = -_seconds(found[1])
    if found[3] is None:
        return
    summer = -_seconds(found[2]) if found[2] else standard + 3600
    first = (EPOCH + timedelta(seconds=after)).year if after > -(2**40) else 1970
    for year in range(first, 2101):
        changes = [(_local(found[3], year) - standard, summer), (_local(found[4], year) - summer, standard)]
        yield from sorted(change for change in changes if change[0] > after)


def _local(text: str, year: int) -> int:
    """Local seconds since 1970 of a rule like `M3.2.0/2:30` or `J60`."""
    day, _, clock = text.partition("/")
    if day.startswith("M"):
        month, week, weekday = map(int, day[1:].split("."))
        days = [date(year, month, 1) + DAY * i for i in range(31)]
        fits = [d for d in days if d.month == month and d.isoweekday() % 7 == weekday]
        found = fits[-1] if week == 5 else fits[week - 1]
    elif day.startswith("J"):
        # Julian days never count 29 February.
        found = date(2001, 1, 1) + DAY * (int(day[1:]) - 1)
        found = found.replace(year=year)
    else:
        found = date(year, 1, 1) + DAY * int(day)
    return (found - EPOCH.date()).days * 86400 + (_seconds(clock) if clock else 7200)


def _seconds(text: str) -> int:
    parts = [int(part) for part in text.lstrip("+-").split(":")]
    value = sum(part * unit for part, unit in zip(parts, (3600, 60, 1), strict=False))
    return -value if text.startswith("-") else value


@dataclass(frozen=True)
class Case:
    """One question: a series, the occurrence that was completed, and when."""

    zone: Zone
    rule: RecurrenceRule
    anchor: datetime
    completed: Occurrence
    occurred_at: datetime

    def __str__(self) -> str:
        done = self.completed
        return (
            f"{self.zone.name}: {self.rule!r}, anchor {self.anchor}, "
            f"completed #{done.index} of {done.nominal} (due {done.due}) at {self.occurred_at}"
        )


def expected(case: Case) -> tuple[Occurrence | None, Occurrence | None]:
    """The answer by python-dateutil and the answer by the walker."""
    start = case.anchor.date() if case.rule.basis == "schedule" else case.zone.wall(case.occurred_at).date()
    return _answer(case, start, _by_dateutil), _answer(case, start, _by_walking)


def _answer(case: Case, start: date, schedule: Callable[[RecurrenceRule, date], Iterator[date]]) -> Occurrence | None:
    rule, done = case.rule, case.completed
    if rule.count is not None and done.index + 1 > rule.count:
        return None
    free = rule.basis == "completion" and rule.days_of_week is None and rule.day_of_month is None
    passed = [] if free else [done.nominal.date()]
    passed += [start] if rule.basis == "completion" else []
    for day in schedule(rule, start):
        if day <= max(passed):
            continue
        nominal = datetime.combine(day, case.anchor.time())
        if _is_past(rule, nominal):
            return None
        due = case.zone.instant(nominal)
        if due > case.occurred_at and (free or due > done.due):
            return Occurrence(nominal, due, done.index + 1)
    return None


def _is_past(rule: RecurrenceRule, nominal: datetime) -> bool:
    if isinstance(rule.until, datetime):
        return nominal > rule.until
    return rule.until is not None and nominal.date() > rule.until


_FREQUENCIES = {"daily": rrule.DAILY, "weekly": rrule.WEEKLY, "monthly": rrule.MONTHLY}


def _by_dateutil(rule: RecurrenceRule, start: date) -> Iterator[date]:
    """RFC 5545 with the clamp said as "the last of the 28th to the 31st"."""
    options: dict[str, Any] = {}
    if rule.frequency == "weekly" and rule.days_of_week:
        options["byweekday"] = [WEEK.index(name) for name in rule.days_of_week]
    if rule.frequency == "monthly":
        day = rule.day_of_month or start.day
        options |= {"bymonthday": range(min(day, 28), day + 1), "bysetpos": -1}
    options |= {"freq": _FREQUENCIES[rule.frequency], "interval": rule.interval, "wkst": rrule.MO}
    moments = rrule.rrule(dtstart=datetime.combine(start, time()), **options)
    return (moment.date() for moment in moments)


def _by_walking(rule: RecurrenceRule, start: date) -> Iterator[date]:
    """Every day from the first on, counting the weeks and months as they begin."""
    weekdays = {WEEK.index(name) for name in rule.days_of_week or ()} or {start.weekday()}
    monthday = rule.day_of_month or start.day
    days = weeks = months = 0
    for day in (start + DAY * i for i in itertools.count()):
        if day > start:
            days, weeks, months = days + 1, weeks + (day.weekday() == 0), months + (day.day == 1)
        if rule.frequency == "daily":
            fits = days % rule.interval == 0
        elif rule.frequency == "weekly":
            fits = weeks % rule.interval == 0 and day.weekday() in weekdays
        else:
            last_of_month = (day + DAY).day == 1
            fits = months % rule.interval == 0 and (day.day == monthday or (last_of_month and day.day < monthday))
        if fits:
            yield day


def cases(number: int, seed: int, zones: list[Zone]) -> Iterator[Case]:
    """Questions around the zones' transitions, every zone in turn, the same for the same seed and zone files."""
    rng = random.Random(seed)
    order = rng.sample(zones, len(zones))
    turning = {zone.name: zone.transitions() for zone in zones}
    return (_case(rng, zone, turning[zone.name]) for zone in itertools.islice(itertools.cycle(order), number))


def _case(rng: random.Random, zone: Zone, transitions: list[tuple[datetime, int, int]]) -> Case:
    pivot = _pivot(rng, *rng.choice(transitions))
    index = rng.randint(1, 5)
    rule = _rule(rng, pivot, index)
    anchor = datetime.combine(_anchor_day(rng, rule, pivot.date()), pivot.time())
    days = list(itertools.takewhile(lambda day: day <= pivot.date(), _by_walking(rule, anchor.date())))
    before = [day for day in days if day < pivot.date()][-1:]
    nominal = datetime.combine(rng.choice([*before * 3, *days[-1:], anchor.date()]), anchor.time())
    due = zone.instant(nominal)
    if rng.random() < 0.1:
        due += timedelta(minutes=rng.randint(-7200, 7200))
    completed = Occurrence(nominal, due, index)
    return Case(zone, rule, anchor, completed, _completion(rng, rule, zone, due, pivot))


def _pivot(rng: random.Random, moment: datetime, before: int, after: int) -> datetime:
    """A wall time at, in or near the gap or overlap that a transition makes."""
    low, high = sorted((moment + timedelta(seconds=before), moment + timedelta(seconds=after)))
    inside = low + timedelta(seconds=rng.randrange(round((high - low).total_seconds())))
    second = timedelta(seconds=1)
    midnight = datetime.combine(low.date(), time())
    sometime = midnight + timedelta(seconds=rng.randrange(86400))
    edges = [low, high, low - second, high - second, midnight, midnight + DAY]
    return rng.choice([inside, inside, inside, rng.choice(edges), sometime])


def _rule(rng: random.Random, pivot: datetime, index: int) -> RecurrenceRule:
    fields: dict[str, Any] = {"frequency": rng.choice(["daily", "weekly", "monthly"])}
    fields["interval"] = rng.choice([1, 1, 1, 1, 2, 2, 3, 4, rng.randint(1, 13)])
    fields["basis"] = rng.choice(["schedule", "schedule", "schedule", "completion"])
    if fields["frequency"] == "weekly" and rng.random() < 0.6:
        fields["days_of_week"] = tuple(rng.sample(WEEK, rng.randint(1, 7)))
    if fields["frequency"] == "monthly" and rng.random() < 0.5:
        fields["day_of_month"] = rng.choice([pivot.day, 31, 30, 29, rng.randint(1, 31)])
    ending = rng.random()
    if ending < 0.1:
        fields["count"] = index + rng.randint(0, 2)
    elif ending < 0.25:
        near = pivot + rng.choice([timedelta(seconds=rng.randint(-1, 1)), DAY * rng.randint(-3, 40)])
        fields["until"] = rng.choice([near, near.date()])
    return RecurrenceRule(**fields)


def _anchor_day(rng: random.Random, rule: RecurrenceRule, pivot: date) -> date:
    """A first day from which the pivot is often on the schedule."""
    back = rule.interval * rng.choice([0, 1, 1, 2, 3, rng.randint(4, 12)])
    if rule.frequency == "daily":
        return pivot - DAY * back
    if rule.frequency == "weekly":
        return pivot - DAY * (7 * back + rng.choice([0, 0, rng.randint(0, 6)]))
    year, month = divmod(pivot.year * 12 + pivot.month - 1 - back, 12)
    ideal = rng.choice([pivot.day, pivot.day, 31, rng.randint(1, 31)])
    # The first of the next month less a day: the last day, where the month has no such day.
    return min(date(year, month + 1, 1) + DAY * (ideal - 1), date(year + month // 11, (month + 1) % 12 + 1, 1) - DAY)


def _completion(rng: random.Random, rule: RecurrenceRule, zone: Zone, due: datetime, pivot: datetime) -> datetime:
    """Early, on time, late, or within a second or an hour of the pivot; for that basis, an interval before it."""
    second, length = timedelta(seconds=1), {"daily": 1, "weekly": 7, "monthly": 30}[rule.frequency]
    choices = [
        due - second * rng.randint(1, 40 * 86400),
        due + second * rng.choice([0, 0, 1, rng.randint(0, 7200)]),
        due + second * rng.randint(3600, 400 * 86400),
        zone.instant(pivot) + second * rng.choice([-1, 0, 1, rng.randint(-7200, 7200)]),
    ]
    if rule.basis == "completion":
        choices.append(zone.instant(pivot) - DAY * length * rule.interval + second * rng.randint(-43200, 43200))
    return rng.choice(choices)
