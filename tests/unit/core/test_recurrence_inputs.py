"""What a recurrence rule, a zone's name and a time may be, and what the refusal says."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from todoctl.core.recurrence import Occurrence, RecurrenceRule, first_occurrence, to_local, to_utc, zone

NOW = datetime(2025, 1, 1, tzinfo=UTC)
LOCAL = NOW.replace(tzinfo=None)
DAILY = RecurrenceRule(frequency="daily")


class TestRule:
    @pytest.mark.parametrize(
        ("field", "fields"),
        [
            ("frequency", {"frequency": "hourly"}),
            ("interval", {"interval": 0}),
            ("interval", {"interval": 1000}),
            ("interval", {"interval": True}),
            ("interval", {"interval": "2"}),
            ("interval", {"interval": 10**400}),
            ("days_of_week", {"frequency": "weekly", "days_of_week": []}),
            ("days_of_week", {"frequency": "weekly", "days_of_week": ["monday"]}),
            ("days_of_week", {"frequency": "weekly", "days_of_week": ["mon"] * 8}),
            ("days_of_week", {"days_of_week": ["mon"]}),
            ("day_of_month", {"frequency": "monthly", "day_of_month": 32}),
            ("day_of_month", {"frequency": "monthly", "day_of_month": 0}),
            ("day_of_month", {"frequency": "weekly", "day_of_month": 1}),
            ("until", {"until": 0}),
            ("until", {"until": True}),
            ("until", {"until": ""}),
            ("until", {"until": "2030-02-30"}),
            ("until", {"until": "2030-01-01T00:00Z"}),
            ("until", {"until": "9" * 10_000}),
            ("until", {"until": datetime(2030, 1, 1, tzinfo=UTC)}),
            ("count", {"count": 0}),
            ("count", {"count": 10_000}),
            ("count", {"count": 3, "until": "2030-01-01"}),
            ("basis", {"basis": "whenever"}),
            ("every", {"every": 3}),
        ],
    )
    def test_an_error_names_its_field(self, field: str, fields: dict[str, Any]) -> None:
        """Whatever is wrong, each reported place is the field that holds it."""
        with pytest.raises(ValidationError) as caught:
            RecurrenceRule.model_validate({"frequency": "daily"} | fields)
        assert {error["loc"][0] for error in caught.value.errors()} == {field}

    @pytest.mark.parametrize("until", [None, "2030-01-31", "2030-01-31T00:00:00", "2030-01-31T09:30:00"])
    def test_json_round_trip(self, until: str | None) -> None:
        """A rule read from its own JSON is the same rule, a day staying a day and a midnight a midnight."""
        fields = {"frequency": "weekly", "interval": 2, "days_of_week": ["sun", "mon", "sun"], "until": until}
        first = RecurrenceRule.model_validate(fields)
        assert first.days_of_week == ("mon", "sun")
        again = RecurrenceRule.model_validate_json(first.model_dump_json())
        assert (again, type(again.until)) == (first, type(first.until))
        assert first.model_dump(mode="json")["until"] == until

    def test_a_rule_does_not_change(self) -> None:
        """It can be shared and hashed."""
        assert hash(DAILY) == hash(DAILY.model_copy())
        with pytest.raises(ValidationError):
            DAILY.interval = 2  # type: ignore[misc]


class TestZone:
    @pytest.mark.parametrize(
        "name",
        [
            "",
            ".",
            "../etc/passwd",
            "/etc/passwd",
            "TZ=UTC",
            "America",
            "america/new_york",
            "UTC\0",
            "UTC\n",
            "\ud800",
            "localtime",
            "Factory",
            "right/UTC",
            "posixrules",
            "tzdata.zi",
            "+05:30",
            "x" * 10_000,
        ],
    )
    def test_a_name_that_is_no_zone_is_refused(self, name: str) -> None:
        """The message shows a short form of the name and an example of a good one."""
        with pytest.raises(ValueError, match=r"unknown time zone .*use an IANA name such as Europe/Berlin") as caught:
            zone(name)
        assert len(str(caught.value)) < 200

    @pytest.mark.parametrize(
        "name", ["UTC", "America/New_York", "Asia/Calcutta", "Etc/GMT+12", "America/Argentina/Ushuaia"]
    )
    def test_iana_names_are_zones(self, name: str) -> None:
        """Old names and fixed offsets too."""
        assert zone(name).key == name

    def test_times_beyond_the_calendar_are_refused(self) -> None:
        """A wall time without an instant, and the other way round, say so."""
        with pytest.raises(ValueError, match="outside the years 1 to 9999"):
            to_utc(LOCAL.replace(year=1), "Asia/Tokyo")
        with pytest.raises(ValueError, match="outside the years 1 to 9999"):
            to_local(NOW.replace(year=9999, month=12, day=31, hour=23), "Asia/Tokyo")

    def test_naive_and_aware_are_not_confused(self) -> None:
        """Wall times carry no offset and instants do."""
        wrong: list[tuple[str, Any]] = [
            ("local", lambda: to_utc(NOW, "UTC")),
            ("instant", lambda: to_local(LOCAL, "UTC")),
            ("nominal", lambda: Occurrence(NOW, NOW, 1)),
            ("due", lambda: Occurrence(LOCAL, LOCAL, 1)),
            ("anchor", lambda: first_occurrence(DAILY, anchor=NOW, zone="UTC")),
            ("index", lambda: Occurrence(LOCAL, NOW, 0)),
        ]
        for name, call in wrong:
            with pytest.raises(ValueError, match=f"^{name} "):
                call()
