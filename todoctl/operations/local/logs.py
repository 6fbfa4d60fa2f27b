"""Logs of several parts, merged in time order, from files that grow and are rotated."""

from __future__ import annotations

import heapq
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from todoctl.core.logs import LEVELS, LogLine, parse_lines
from todoctl.core.parts import Folders

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PAUSE = 0.2  # seconds between two looks at files that may have grown


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


def read(folders: Folders, parts: Sequence[str], wanted: LogFilter) -> Iterator[LogLine]:
    """What the logs hold now, in time order; each log keeps its own order."""
    streams = [_history(folders, part) for part in parts]
    yield from (line for line in heapq.merge(*streams, key=lambda line: line.time) if wanted.wants(line))


def follow(folders: Folders, parts: Sequence[str], wanted: LogFilter) -> Iterator[LogLine]:
    """Lines as they are written from now on; never ends by itself."""
    tails = [_Tail(part, folders.logs / f"{part}.log") for part in parts]
    while True:
        fresh = sorted((line for tail in tails for line in tail.read()), key=lambda line: line.time)
        yield from (line for line in fresh if wanted.wants(line))
        if not fresh:
            time.sleep(_PAUSE)


def _history(folders: Folders, part: str) -> Iterator[LogLine]:
    """The rotated files of a part, the oldest first, and its current one; times never run backwards."""
    newest = folders.logs / f"{part}.log"
    files = [path for number in (2, 1) if (path := newest.with_name(f"{newest.name}.{number}")).exists()]
    last = _EPOCH
    for path in (*files, newest):
        if not path.exists():
            continue
        with path.open(encoding="utf-8", errors="replace") as stream:
            for line in parse_lines(part, stream, start=last):
                last = max(last, line.time)
                yield LogLine(part, last, line.level, line.text, line.correlation_id, line.continues)


class _Tail:
    """Whole lines that were appended to a file since the last look, through rotation."""

    def __init__(self, part: str, path: Path) -> None:
        self._part, self._path, self._rest = part, path, ""
        self._last = datetime.now(UTC)
        self._stream = path.open(encoding="utf-8", errors="replace") if path.exists() else None
        if self._stream:
            self._stream.seek(0, 2)

    def read(self) -> list[LogLine]:
        if self._stream is None and self._path.exists():
            self._stream = self._path.open(encoding="utf-8", errors="replace")
        if self._stream is None:
            return []
        text = self._rest + self._stream.read()
        if not text.endswith("\n") and self._was_rotated():
            self._stream.close()
            self._stream = None
        whole, _, self._rest = text.rpartition("\n")
        lines = list(parse_lines(self._part, whole.split("\n") if whole else [], start=self._last))
        if lines:
            self._last = lines[-1].time
        return lines

    def _was_rotated(self) -> bool:
        if self._stream is None:
            return False
        try:
            now = self._path.stat()
        except FileNotFoundError:
            return True
        return now.st_ino != _inode(self._stream) or now.st_size < self._stream.tell()


def _inode(stream: object) -> int:
    import os

    return os.fstat(stream.fileno()).st_ino  # type: ignore[attr-defined]


def _rank(level: str) -> int:
    return LEVELS.index(level) if level in LEVELS else 1
