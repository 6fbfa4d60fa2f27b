"""How far an installation is: times and estimates put to a source's steps, and the words for a person."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from todoctl.adapters.tools.catalog import Source
from todoctl.adapters.tools.model import Progress, Step, Tool

_MEASURED_CPUS = 2  # the machine that the seconds in versions.toml were measured on


class Clock:
    """Turns the steps of one tool's sources into progress with times."""

    def __init__(self, tool: str) -> None:
        self._tool = tool
        self._started = self._source_started = time.monotonic()
        self._expected = 0.0

    def begin(self, source: Source) -> None:
        """A source begins to fetch."""
        self._source_started = time.monotonic()
        self._expected = source.seconds * max(1.0, _MEASURED_CPUS / (os.cpu_count() or _MEASURED_CPUS))

    def at(self, step: Step) -> Progress:
        """One step as progress."""
        elapsed = time.monotonic() - self._started
        return Progress(self._tool, step.phase, step.message, step.fraction, elapsed, self._left(step.fraction))

    def end(self, tool: Tool) -> Progress:
        """The last progress, with the tool."""
        message = f"{tool.version} from {tool.source}"
        return Progress(self._tool, "ready", message, 1.0, time.monotonic() - self._started, 0.0, result=tool)

    def _left(self, fraction: float | None) -> float | None:
        """Seconds to go: by experience at first, more and more by this run's own pace."""
        if fraction is None or not self._expected:
            return None
        by_experience = self._expected * (1 - fraction)
        if fraction < 0.1:
            return by_experience
        by_pace = (time.monotonic() - self._source_started) * (1 - fraction) / fraction
        return by_pace * fraction + by_experience * (1 - fraction)


def thin(news: Iterator[Progress], every: float) -> Iterator[Progress]:
    """The same news, but within one phase of a tool only one in `every` seconds: a log is not a progress bar."""
    last: dict[str, tuple[str, float]] = {}
    for progress in news:
        phase, at = last.get(progress.tool, ("", 0.0))
        if progress.phase != phase or progress.elapsed - at >= every:
            last[progress.tool] = (progress.phase, progress.elapsed)
            yield progress


def sentence(progress: Progress) -> str:
    """The progress in words: what, how much of it, how much longer."""
    if progress.result or progress.error or progress.fraction is None:
        return progress.message
    left = progress.estimate_seconds
    if left is None:
        return f"{progress.message} ({progress.fraction:.0%})"
    longer = f"{left:.0f} s" if left < 90 else f"{left / 60:.0f} min"
    return f"{progress.message} ({progress.fraction:.0%}, about {longer} left)"
