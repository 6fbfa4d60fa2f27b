"""Log lines of every kind of part in one form: time, level, correlation, text."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from todoctl.core.logs import LEVELS, LogLine, parse_duration, parse_lines, parse_time

START = datetime(2026, 1, 1, tzinfo=UTC)


def parse(*lines: str) -> list[LogLine]:
    """The lines of a part's log."""
    return list(parse_lines("api", lines, start=START))


def one(line: str) -> LogLine:
    """One parsed line."""
    (parsed,) = parse(line)
    return parsed


@pytest.mark.parametrize(
    ("line", "level", "text"),
    [
        # Our services.
        (
            '{"timestamp": "2026-01-02T03:04:05.678Z", "level": "info", "message": "hello", "service": "api"}',
            "info",
            "hello",
        ),
        # daprd, whose fields are time, level, msg.
        (
            '{"app_id":"api","instance":"h","level":"warning","msg":"slow","scope":"dapr","time":"2026-01-02T03:04:05.678Z","type":"log","ver":"1.16.0"}',
            "warn",
            "slow",
        ),
        # PostgreSQL.
        ("2026-01-02 03:04:05.678 UTC [12] FATAL:  no", "error", "2026-01-02 03:04:05.678 UTC [12] FATAL:  no"),
        ("2026-01-02 03:04:05.678 UTC [12] LOG:  yes", "info", "2026-01-02 03:04:05.678 UTC [12] LOG:  yes"),
        # Kafka, supervisord, an offset.
        ("2026-01-02T03:04:05.678Z WARN x (kafka)", "warn", "2026-01-02T03:04:05.678Z WARN x (kafka)"),
        ("[2026-01-02 03:04:05,678] ERROR x", "error", "[2026-01-02 03:04:05,678] ERROR x"),
        ("2026-01-02 05:04:05.678+02:00 DEBUG x", "debug", "2026-01-02 05:04:05.678+02:00 DEBUG x"),
        ("2026-01-02 05:04:05.678 +0200 x", "info", "2026-01-02 05:04:05.678 +0200 x"),
    ],
)
def test_the_forms_of_our_parts(line: str, level: str, text: str) -> None:
    """Each part's own form gives the same moment in UTC, one of four levels, and the text."""
    parsed = one(line)
    assert parsed.time == datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
    assert (parsed.level, parsed.text, parsed.continues) == (level, text, False)


@pytest.mark.parametrize("word", ["debug", "INFO", "warn", "WARNING", "error", "fatal", "PANIC", "critical", "trace"])
def test_every_level_becomes_one_of_four(word: str) -> None:
    """Whatever a part calls its levels, `--level` knows four."""
    line = json.dumps({"time": "2026-01-02T03:04:05Z", "level": word, "msg": "x"})
    assert one(line).level in LEVELS


def test_other_fields_follow_the_text() -> None:
    """What else a record says is kept as key=value; a correlation id is found."""
    line = json.dumps(
        {"timestamp": "2026-01-02T03:04:05Z", "level": "info", "message": "done", "correlation_id": "c-1", "task_id": 7}
    )
    parsed = one(line)
    assert parsed.text == "done correlation_id=c-1 task_id=7"
    assert parsed.correlation_id == "c-1"


def test_a_line_without_a_time_continues_the_one_before() -> None:
    """A traceback stays with its record: same time, same level, marked as a continuation."""
    first, second, third = parse("2026-01-02 03:04:05 UTC ERROR x", "Traceback", '  File "a.py", line 1')
    assert (second.time, second.level, second.continues) == (first.time, "error", True)
    assert (third.text, third.continues) == ('  File "a.py", line 1', True)


def test_lines_before_the_first_time_get_the_beginning() -> None:
    """A log that begins without a time begins when the caller says."""
    assert one("hello") == LogLine("api", START, "info", "hello", None, continues=True)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{",
        "{}",
        '{"time": 5}',
        '{"time": null, "msg": "x"}',
        '{"time": "2026-99-99T99:99:99Z"}',
        '{"time": "0001-01-01T00:00:00+23:59"}',
        '{"time": "9999-12-31T23:59:59-23:59"}',
        '{"time": "2026-01-01T00:00:00+99:99"}',
        '{"a": ' * 100_000,
        '{"time": ' + "9" * 10_000 + "}",
        "0000-00-00 00:00:00 ERROR",
        "\x00\x1b]52;c;eA==\x07",
        "2026-01-01 00:00:00." + "1" * 5000,
    ],
)
def test_no_line_breaks_the_reading(line: str) -> None:
    """Whatever is in a log, it comes out as one line."""
    assert len(parse(line, "2026-01-02 03:04:05 UTC ERROR x")) == 2


def test_a_record_whose_fields_are_of_other_types() -> None:
    """A level, text or correlation id that is no text is shown as text."""
    line = json.dumps({"time": "2026-01-02T03:04:05Z", "level": 30, "msg": ["a"], "correlation_id": {"b": 1}})
    parsed = one(line)
    assert (parsed.level, parsed.correlation_id) == ("30", "{'b': 1}")
    assert parsed.text.startswith("['a']")


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("500ms", timedelta(milliseconds=500)),
        ("90s", timedelta(seconds=90)),
        ("15m", timedelta(minutes=15)),
        ("2h", timedelta(hours=2)),
        ("1d", timedelta(days=1)),
        ("0s", timedelta()),
    ],
)
def test_durations(text: str, duration: timedelta) -> None:
    """A number and a unit is a duration."""
    assert parse_duration(text) == duration


@pytest.mark.parametrize("text", ["", "15", "m", "-5m", "1.5h", "5 m", "5min", "5m\n", "\u0665m"])
def test_what_is_no_duration(text: str) -> None:
    """Anything else is refused with what to write."""
    with pytest.raises(ValueError, match="is not a duration: write a number and one of ms, s, m, h, d, such as 15m"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02 03:04:05", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05.123456789Z", datetime(2026, 1, 2, 3, 4, 5, 123_456, tzinfo=UTC)),
        ("2026-01-02T03:04:05-05:00", datetime(2026, 1, 2, 8, 4, 5, tzinfo=UTC)),
        ("2026-01-02", None),
        ("03:04:05", None),
        ("later 2026-01-02T03:04:05Z", None),
    ],
)
def test_times(text: str, moment: datetime | None) -> None:
    """A time at the beginning, to the microsecond, in UTC where no zone is said."""
    assert parse_time(text) == moment
