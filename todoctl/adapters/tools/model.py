"""The values of the tools adapter: what was found, how far an installation is, what a source could not do."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from todoctl.errors import TodoctlError


@dataclass(frozen=True)
class Tool:
    """A tool that can be used: an executable, a folder of jars or a folder of executables at `path`."""

    name: str
    version: str
    source: str  # "PATH", "~/.dapr/bin", "by hand", "release", "go build", "wheel", "maven"
    path: Path
    why: str


@dataclass(frozen=True)
class Absent:
    """A source that does not have the tool, and why; `unfit`: it has one that won't do."""

    reason: str
    unfit: bool = False


@dataclass(frozen=True)
class Step:
    """One piece of news from a source at work; the fraction is of the whole fetch."""

    phase: str
    message: str
    fraction: float | None = None


@dataclass(frozen=True)
class Progress:
    """How far the installation of one tool is; the last one carries the tool, or the error that ended it."""

    tool: str
    phase: str
    message: str
    fraction: float | None
    elapsed: float
    estimate_seconds: float | None = None  # how much longer, as far as can be said
    result: Tool | None = None
    error: TodoctlError | None = field(default=None, compare=False)


class UnavailableError(Exception):
    """A source can't deliver now; the next one is tried."""

    def __init__(self, reason: str, *, detail: tuple[str, ...] = ()) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail
