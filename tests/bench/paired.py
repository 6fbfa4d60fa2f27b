"""Two commands timed in turn, so that a machine that is slow for a moment is slow for both."""

from __future__ import annotations

import random
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Ratio:
    """Median of the paired ratios A/B with the spread of its middle half, and both medians in seconds."""

    median: float
    low: float
    high: float
    a_seconds: float
    b_seconds: float

    def __str__(self) -> str:
        return (
            f"ratio {self.median:.2f} (middle half {self.low:.2f} to {self.high:.2f}), "
            f"{self.a_seconds * 1000:.1f} ms against {self.b_seconds * 1000:.1f} ms"
        )


def compare(a: Callable[[], None], b: Callable[[], None], *, rounds: int, seed: int = 1) -> Ratio:
    """Time `a` and `b` in pairs, in random order within each pair, after one warm-up of each."""
    a()
    b()
    chance = random.Random(seed)
    pairs = []
    for _ in range(rounds):
        first, second = (a, b) if chance.random() < 0.5 else (b, a)
        times = {id(call): _seconds(call) for call in (first, second)}
        pairs.append((times[id(a)], times[id(b)]))
    ratios = sorted(x / y for x, y in pairs)
    quarter = len(ratios) // 4
    return Ratio(
        statistics.median(ratios),
        ratios[quarter],
        ratios[-1 - quarter],
        statistics.median(x for x, _ in pairs),
        statistics.median(y for _, y in pairs),
    )


def command(argv: Sequence[str]) -> Callable[[], None]:
    """A call that runs the command to its end and throws its output away."""

    def call() -> None:
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    return call


def _seconds(call: Callable[[], None]) -> float:
    since = time.perf_counter()
    call()
    return time.perf_counter() - since
