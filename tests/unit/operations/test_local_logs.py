"""Logs of several parts: merged, filtered, through rotation, and followed without a gap."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from todoctl.core.logs import LogFilter, LogLine
from todoctl.core.site import Folders
from todoctl.operations.local.logs import read


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """An environment with a log folder."""
    made = Folders(tmp_path)
    made.logs.mkdir()
    return made


def line(second: int, text: str, *, level: str = "info", correlation: str | None = None) -> str:
    """A line as a service writes it."""
    record = {"timestamp": f"2026-01-01T00:00:{second:02}Z", "level": level, "message": text}
    return json.dumps(record | ({"correlation_id": correlation} if correlation else {})) + "\n"


def write(folders: Folders, name: str, *lines: str) -> Path:
    """Append to a log file."""
    path = folders.logs / name
    with path.open("a") as stream:
        stream.writelines(lines)
    return path


def texts(lines: Iterator[LogLine]) -> list[str]:
    """`part: text` of each line."""
    return [f"{item.part}: {item.text}" for item in lines]


def test_parts_are_merged_in_time_order(folders: Folders) -> None:
    """Lines of all parts come in the order of their times."""
    write(folders, "api.log", line(1, "one"), line(4, "four"))
    write(folders, "auth.log", line(2, "two"), line(3, "three"))
    assert texts(read(folders, ["api", "auth"], LogFilter())) == ["api: one", "auth: two", "auth: three", "api: four"]


def test_each_part_keeps_its_own_order(folders: Folders) -> None:
    """A clock that was set back does not reorder a part's lines, and continuations stay with their line."""
    write(folders, "api.log", line(5, "five"), "Traceback\n", line(2, "two"), line(6, "six"))
    assert texts(read(folders, ["api"], LogFilter())) == ["api: five", "api: Traceback", "api: two", "api: six"]


def test_rotated_files_come_first(folders: Folders) -> None:
    """The oldest file first; a part without a log has no lines."""
    write(folders, "api.log.2", line(1, "one"))
    write(folders, "api.log.1", line(2, "two"))
    write(folders, "api.log", line(3, "three"))
    assert texts(read(folders, ["api", "auth"], LogFilter())) == ["api: one", "api: two", "api: three"]


def test_a_last_line_that_is_not_whole_is_shown(folders: Folders) -> None:
    """What a killed process wrote last counts, bytes that are no text are shown as such."""
    path = write(folders, "api.log", line(1, "one"))
    path.write_bytes(path.read_bytes() + b"cut \xff off")
    assert texts(read(folders, ["api"], LogFilter())) == ["api: one", "api: cut \ufffd off"]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (LogFilter(), ["start", "slow", "broken", "later"]),
        (LogFilter(level="warn"), ["slow", "broken"]),
        (LogFilter(level="error"), ["broken"]),
        (LogFilter(since=datetime(2026, 1, 1, 0, 0, 3, tzinfo=UTC)), ["broken", "later"]),
        (LogFilter(grep=re.compile("^s")), ["start", "slow"]),
        (LogFilter(correlation="c-1"), ["slow", "later"]),
        (LogFilter(correlation="c-1", level="warn"), ["slow"]),
    ],
)
def test_filters(folders: Folders, wanted: LogFilter, found: list[str]) -> None:
    """Each filter takes away what it does not want; together all must agree."""
    write(
        folders,
        "api.log",
        line(1, "start", level="info"),
        line(2, "slow", level="warning", correlation="c-1"),
        line(3, "broken", level="fatal"),
        line(4, "later about c-1"),
    )
    assert [item.text.split()[0] for item in read(folders, ["api"], wanted)] == found


@pytest.fixture
def followed(folders: Folders) -> Iterator[tuple[Folders, Iterator[LogLine]]]:
    """A log with one line that is being followed; the follower waits for what comes."""
    write(folders, "api.log", line(1, "one"))
    lines = read(folders, ["api", "auth"], LogFilter(), follow=True)
    yield folders, lines
    lines.close()  # type: ignore[attr-defined]


def test_following_goes_on_where_the_history_ends(followed: tuple[Folders, Iterator[LogLine]]) -> None:
    """What is written while the history is shown is neither lost nor shown twice."""
    folders, lines = followed
    assert next(lines).text == "one"
    write(folders, "api.log", line(2, "two"), line(3, "three"))
    assert [next(lines).text for _ in range(2)] == ["two", "three"]
    write(folders, "api.log", line(4, "four"))
    assert next(lines).text == "four"


def test_half_a_line_waits_for_its_other_half(folders: Folders) -> None:
    """A line that is being written is shown when it is whole."""
    whole = line(2, "two")
    write(folders, "api.log", line(1, "one"), whole[:20])
    lines = read(folders, ["api"], LogFilter(), follow=True)
    assert next(lines).text == "one"
    write(folders, "api.log", whole[20:], line(3, "three")[:5])
    assert next(lines).text == "two"
    write(folders, "api.log", line(3, "three")[5:])
    assert next(lines).text == "three"
    lines.close()  # type: ignore[attr-defined]


def test_following_through_a_rotation(followed: tuple[Folders, Iterator[LogLine]]) -> None:
    """Lines before and after a rotation all come."""
    folders, lines = followed
    assert next(lines).text == "one"
    path = write(folders, "api.log", line(2, "two"))
    path.rename(path.with_name("api.log.1"))
    write(folders, "api.log", line(3, "three"))
    assert [next(lines).text for _ in range(2)] == ["two", "three"]


def test_following_a_part_that_has_no_log_yet(followed: tuple[Folders, Iterator[LogLine]]) -> None:
    """A part that starts later is shown from its first line."""
    folders, lines = followed
    assert next(lines).text == "one"
    write(folders, "auth.log", "no time yet\n", line(5, "five"))
    first, second = next(lines), next(lines)
    assert [(item.part, item.text) for item in (first, second)] == [("auth", "no time yet"), ("auth", "five")]
    assert first.time.year > 1970
