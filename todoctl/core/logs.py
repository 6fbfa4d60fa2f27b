"""Log lines of all parts in one form: time, level, correlation id, and the text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

LEVELS = ("debug", "info", "warn", "error")

_TIME = re.compile(r"^\[?(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,](\d{1,9}))?\s?(Z|UTC|[+-]\d\d:?\d\d)?")
_LEVEL = re.compile(r"\b(DEBUG|INFO|LOG|WARN|WARNING|ERROR|FATAL|PANIC|CRITICAL)\b")
_NAMES = {"log": "info", "warning": "warn", "fatal": "error", "panic": "error", "critical": "error", "trace": "debug"}
_DURATION = re.compile(r"^([0-9]+)(ms|s|m|h|d)\Z")


@dataclass(frozen=True)
class LogLine:
    """One line of a part's log; a line without a time of its own has that of the line before it.

    `instance` is the pod that wrote it, where a part may have several.
    """

    part: str
    time: datetime
    level: str
    text: str
    correlation_id: str | None = None
    continues: bool = False
    instance: str = ""


@dataclass(frozen=True)
class LogFilter:
    """Which lines are wanted; None and "" want all."""

    since: datetime | None = None
    level: str = "debug"
    grep: re.Pattern[str] | None = None
    correlation: str | None = None

    def wants(self, line: LogLine) -> bool:
        """Whether the line is wanted."""
        if self.since and line.time < self.since:
            return False
        if _rank(line.level) < _rank(self.level):
            return False
        if self.correlation and line.correlation_id != self.correlation and self.correlation not in line.text:
            return False
        return not self.grep or bool(self.grep.search(line.text))


def parse_lines(part: str, lines: Iterable[str], *, start: datetime) -> Iterator[LogLine]:
    """The lines of one log; `start` is the time of lines before the first that tells one."""
    last = LogLine(part, start, "info", "")
    for raw in lines:
        line = raw.rstrip("\n")
        parsed = _parse_json(part, line) or _parse_text(part, line)
        last = parsed or replace(last, text=line, continues=True)
        yield last


def parse_duration(text: str) -> timedelta:
    """`90s`, `15m`, `2h`, `1d`, `500ms` as a duration.

    Raises:
        ValueError: it is none of these.
    """
    match = _DURATION.match(text)
    if not match:
        raise ValueError(f"{text!r} is not a duration: write a number and one of ms, s, m, h, d, such as 15m")
    unit = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}[match[2]]
    return timedelta(**{unit: int(match[1])})


def _parse_json(part: str, line: str) -> LogLine | None:
    if not line.startswith("{"):
        return None
    try:
        record = json.loads(line)
        moment = parse_time(str(record.get("timestamp") or record.get("time") or record.get("ts") or ""))
    except (ValueError, RecursionError):
        return None
    if moment is None:
        return None
    level = str(record.get("level", "info")).lower()
    text = str(record.get("message", record.get("msg", line)))
    extra = {key: value for key, value in record.items() if key not in _KNOWN}
    if extra:
        text += " " + " ".join(f"{key}={value}" for key, value in extra.items())
    correlation = record.get("correlation_id")
    return LogLine(part, moment, _NAMES.get(level, level), text, str(correlation) if correlation else None)


_KNOWN = {"timestamp", "time", "ts", "level", "message", "msg", "service", "app_id", "instance", "scope", "type", "ver"}


def _parse_text(part: str, line: str) -> LogLine | None:
    moment = parse_time(line)
    if moment is None:
        return None
    match = _LEVEL.search(line[:80])
    level = match[1].lower() if match else "info"
    return LogLine(part, moment, _NAMES.get(level, level), line)


def parse_time(text: str) -> datetime | None:
    """The time at the beginning of `text`; without a zone it is UTC."""
    match = _TIME.match(text)
    if not match:
        return None
    zone = match[4] or "Z"
    iso = f"{match[1]}T{match[2]}.{(match[3] or '0')[:6]:0<6}{'+00:00' if zone in {'Z', 'UTC'} else zone}"
    try:
        return datetime.fromisoformat(iso).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _rank(level: str) -> int:
    return LEVELS.index(level) if level in LEVELS else 1
