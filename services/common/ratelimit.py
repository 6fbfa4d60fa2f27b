"""Token buckets by key, in memory: how long a caller must wait before it may go on."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable


class TokenBuckets:
    """One bucket of `burst` tokens per key, refilled with `rate` per second; `rate` 0 limits nothing.

    At most `capacity` keys are remembered; the one unused longest is forgotten first.
    """

    def __init__(self, *, rate: float, burst: float, monotonic: Callable[[], float], capacity: int = 10_000) -> None:
        self._rate, self._burst, self._monotonic, self._capacity = rate, burst, monotonic, capacity
        self._buckets: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def take(self, key: Hashable) -> float:
        """Take one token of `key`: 0 when there was one, else the seconds until there will be."""
        if not self._rate:
            return 0.0
        tokens = self._tokens(key)
        self._put(key, tokens - 1 if tokens >= 1 else tokens)
        return 0.0 if tokens >= 1 else (1 - tokens) / self._rate

    def give_back(self, key: Hashable) -> None:
        """Return a token that was taken for what turned out to be harmless."""
        if key in self._buckets:
            self._put(key, min(self._burst, self._tokens(key) + 1))

    def _tokens(self, key: Hashable) -> float:
        tokens, seen = self._buckets.get(key, (self._burst, self._monotonic()))
        return min(self._burst, tokens + (self._monotonic() - seen) * self._rate)

    def _put(self, key: Hashable, tokens: float) -> None:
        self._buckets[key] = (tokens, self._monotonic())
        self._buckets.move_to_end(key)
        if len(self._buckets) > self._capacity:
            self._buckets.popitem(last=False)
