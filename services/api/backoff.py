"""What is left alone for a while after a failure, longer with each one, and tried again for ever."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable
from random import Random
from typing import Generic, TypeVar

Held = TypeVar("Held", bound=Hashable)


class Backoff(Generic[Held]):
    """Exponential pauses with jitter, by key, never longer than `longest` seconds."""

    def __init__(
        self,
        *,
        monotonic: Callable[[], float],
        first: float = 0.1,
        longest: float = 2.5,
        random: Random | None = None,
    ) -> None:
        self._monotonic, self._first, self._longest = monotonic, first, longest
        self._random = random or Random()  # noqa: S311 - it spreads attempts, it guards nothing
        self._held: dict[Held, tuple[float, int]] = {}

    def hold(self, key: Held) -> float:
        """Leave `key` alone after a failure; gives for how many seconds."""
        failures = self._held.get(key, (0.0, 0))[1] + 1
        # The exponent is bounded: after a long outage 2 to that power would be no float any more.
        pause = min(self._longest, self._first * float(1 << min(failures - 1, 10))) * self._random.uniform(0.5, 1.0)
        self._held[key] = (self._monotonic() + pause, failures)
        return pause

    def release(self, key: Held) -> None:
        """Forget the failures of `key`: it succeeded."""
        self._held.pop(key, None)

    def held(self) -> Collection[Held]:
        """The keys to leave alone now."""
        now = self._monotonic()
        return [key for key, (until, _) in self._held.items() if until > now]

    def shortest(self, default: float) -> float:
        """Seconds until the next key may be tried again, `default` at most."""
        now = self._monotonic()
        return min([default, *(until - now for until, _ in self._held.values() if until > now)])
