"""Logs of several parts, merged in time order, from files that grow and are rotated."""

from __future__ import annotations

import heapq
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from todoctl.core.logs import LogFilter, LogLine, parse_lines
from todoctl.core.site import Folders

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_PAUSE = 0.2  # seconds between two looks at files that may have grown


def read(folders: Folders, parts: Sequence[str], wanted: LogFilter, *, follow: bool = False) -> Iterator[LogLine]:
    """What the logs hold now, in time order, each log in its own order; with `follow` what is added later too, for ever."""
    tails = [_Tail(part, folders.logs / f"{part}.log") for part in parts]
    try:
        streams = [tail.history(follow=follow) for tail in tails]
        yield from (line for line in heapq.merge(*streams, key=lambda line: line.time) if wanted.wants(line))
        while follow:
            yield from (line for line in _fresh(tails) if wanted.wants(line))
    finally:
        for tail in tails:
            tail.close()


def _fresh(tails: Sequence[_Tail]) -> list[LogLine]:
    fresh = sorted((line for tail in tails for line in tail.fresh()), key=lambda line: line.time)
    if not fresh:
        time.sleep(_PAUSE)
    return fresh


class _Tail:
    """One log: what it holds when it is opened, and the whole lines that are added later, through rotation."""

    def __init__(self, part: str, path: Path) -> None:
        self._part, self._path, self._rest = part, path, b""
        self._last = _EPOCH
        self._stream = path.open("rb") if path.exists() else None

    def history(self, *, follow: bool) -> Iterator[LogLine]:
        """The rotated files, the oldest first, and the current one up to its end now; times never run backwards.

        With `follow` the beginning of a last line is kept for the rest of it.
        """
        rotated = [path for number in (2, 1) if (path := self._path.with_name(f"{self._path.name}.{number}")).exists()]
        for path in rotated:
            with path.open("rb") as stream:
                yield from self._parsed(stream)
        if self._stream is not None:
            end = os.fstat(self._stream.fileno()).st_size
            yield from self._parsed(self._up_to(end, self._stream, keep_beginning=follow))

    def fresh(self) -> list[LogLine]:
        """What was added since the last look."""
        if self._stream is None and self._path.exists():
            self._stream = self._path.open("rb")
        if self._stream is None:
            return []
        text = self._rest + self._stream.read()
        if self._was_rotated():
            # What was written between the read and the rotation is still in the old file.
            text += self._stream.read()
            self.close()
        if self._last == _EPOCH:
            self._last = datetime.now(UTC)
        whole, newline, self._rest = text.rpartition(b"\n")
        return list(self._parsed(whole.split(b"\n") if newline else []))

    def close(self) -> None:
        """Let go of the file."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _up_to(self, end: int, stream: BinaryIO, *, keep_beginning: bool) -> Iterator[bytes]:
        while stream.tell() < end:
            line = stream.readline()
            if keep_beginning and not line.endswith(b"\n"):
                self._rest = line
                return
            yield line

    def _parsed(self, lines: Iterable[bytes]) -> Iterator[LogLine]:
        texts = (line.decode("utf-8", errors="replace").rstrip("\r\n") for line in lines)
        for line in parse_lines(self._part, texts, start=self._last):
            self._last = max(self._last, line.time)
            yield replace(line, time=self._last)

    def _was_rotated(self) -> bool:
        if self._stream is None:
            return False
        try:
            now = self._path.stat()
        except FileNotFoundError:
            return True
        return now.st_ino != os.fstat(self._stream.fileno()).st_ino or now.st_size < self._stream.tell()
