"""Child processes of an installation: their lines as they come, and one switch that ends them all."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from todoctl.adapters.tools import guard, store
from todoctl.adapters.tools.model import UnavailableError

_TICK = 1.0  # a silent child (the linker) still gives news this often
_TAIL = 20
_WIDTH = 500  # pip can put a thousand files into one line


class CancelledError(Exception):
    """The installation was told to stop."""


class Children:
    """The children of one installation."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[str]] = set()
        self._closed = threading.Event()

    def close(self) -> None:
        """End every child and let none start."""
        self._closed.set()
        with self._lock:
            for child in self._running:
                _let_go(child)

    def check(self) -> None:
        """Return when the installation may go on.

        Raises:
            CancelledError: it was told to stop.
        """
        if self._closed.is_set():
            raise CancelledError

    def pause(self, seconds: float) -> None:
        """Wait, but not beyond the order to stop."""
        self._closed.wait(seconds)
        self.check()

    def run(
        self, argv: Sequence[str | Path], *, environ: Mapping[str, str], cwd: Path | None = None
    ) -> Iterator[str | None]:
        """Run a command; gives each line of its output, and None for each second without one.

        Raises:
            UnavailableError: it failed; the detail is the end of what it said.
            TodoctlError: it failed because the disk is full.
        """
        command = [sys.executable, "-I", "-S", guard.__file__, *map(str, argv)]
        tail: deque[str] = deque(maxlen=_TAIL)
        with self._started(command, environ, cwd) as child:
            for line in child.lines():
                self.check()
                if line is not None:
                    tail.append(line)
                yield line
            code = child.process.wait()
        self.check()
        if code != 0 and any("no space left on device" in line.lower() for line in tail):
            raise store.disk_full(f"{Path(str(argv[0])).name} was at work", tuple(tail)[-3:])
        if code != 0:
            raise UnavailableError(f"{Path(str(argv[0])).name} failed with exit code {code}", detail=tuple(tail))

    def _started(self, command: list[str], environ: Mapping[str, str], cwd: Path | None) -> _Running:
        with self._lock:
            self.check()
            child = subprocess.Popen(
                command,
                env=dict(environ),
                cwd=cwd,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
            )
            self._running.add(child)
        return _Running(self, child)

    def forget(self, child: subprocess.Popen[str]) -> None:
        """Drop a child that has ended."""
        with self._lock:
            self._running.discard(child)


class _Running:
    """A child that is certainly gone when its block is left, by whatever way."""

    def __init__(self, owner: Children, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._owner = owner
        self._inbox: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        _let_go(self.process)
        self.process.wait()
        self._reader.join(_TICK)
        self._owner.forget(self.process)

    def lines(self) -> Iterator[str | None]:
        """The lines until the output ends, None for each second without one."""
        while True:
            try:
                line = self._inbox.get(timeout=_TICK)
            except queue.Empty:
                yield None
                continue
            if line is None:
                return
            yield line

    def _read(self) -> None:
        if self.process.stdout is not None:
            with self.process.stdout as output:
                for line in output:
                    self._inbox.put(line.rstrip("\n")[:_WIDTH])
        self._inbox.put(None)


def _let_go(child: subprocess.Popen[str]) -> None:
    """Close the pipe that keeps the child alive."""
    if child.stdin is not None:
        with suppress(OSError):
            child.stdin.close()
