"""When a consumer stops trying: attempts counted per record, and a pause when most records fail for unknown reasons."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

Clock = Callable[[], datetime]

MAX_ATTEMPTS = 5

# Attempts live in memory: a restart begins anew, which at worst tries a record a few times more.
_REMEMBERED = 10_000

# A record that never becomes a letter is still tried about every minute.
_MOST_DOUBLINGS = 7


@dataclass(frozen=True, slots=True)
class _Tries:
    count: int
    not_before: datetime


class Attempts:
    """How often each record failed for unknown reasons, and when it may be tried again."""

    def __init__(self, *, clock: Clock, first_wait: timedelta = timedelta(milliseconds=500)) -> None:
        self._clock = clock
        self._first_wait = first_wait
        self._tries: OrderedDict[str, _Tries] = OrderedDict()

    def __len__(self) -> int:
        return len(self._tries)

    def count(self, record: str) -> int:
        """How often the record failed so far."""
        tries = self._tries.get(record)
        return tries.count if tries else 0

    def is_waiting(self, record: str) -> bool:
        """Whether the record's back-off is still running."""
        tries = self._tries.get(record)
        return tries is not None and self._clock() < tries.not_before

    def failed(self, record: str) -> int:
        """Count one more failure, double the wait, and give the count."""
        count = self.count(record) + 1
        wait = self._first_wait * 2 ** min(count - 1, _MOST_DOUBLINGS)
        self._tries[record] = _Tries(count, self._clock() + wait)
        self._tries.move_to_end(record)
        if len(self._tries) > _REMEMBERED:
            self._tries.popitem(last=False)
        return count

    def forget(self, record: str) -> None:
        """The record succeeded or became a dead letter."""
        self._tries.pop(record, None)


class Breaker:
    """Pauses a consumer while most of its last records failed for unknown reasons, and lets one through now and then.

    A record that is let through counts its attempts like any other, so that a pause whose first record is the culprit
    ends after a few probes instead of never.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        window: int = 100,
        minimum: int = 20,
        first_pause: timedelta = timedelta(seconds=5),
        longest_pause: timedelta = timedelta(seconds=60),
    ) -> None:
        self._clock = clock
        self._minimum = minimum
        self._first_pause = first_pause
        self._longest_pause = longest_pause
        self._failures: deque[bool] = deque(maxlen=window)
        self._pause = first_pause
        self._resumes_at: datetime | None = None

    @property
    def is_paused(self) -> bool:
        """Whether the consumer is paused, a probe under way included."""
        return self._resumes_at is not None

    @property
    def reason(self) -> str | None:
        """Why the consumer is paused and when it tries again, None while it runs."""
        if self._resumes_at is None:
            return None
        failed, seen = sum(self._failures), len(self._failures)
        again = self._resumes_at.astimezone(UTC).isoformat(timespec="seconds")
        return f"{failed} of the last {seen} attempts failed for unknown reasons; tries again at {again}"

    def allows(self) -> bool:
        """Whether a record may be handled now; in a pause that is over, this lets exactly one caller through."""
        if self._resumes_at is None:
            return True
        now = self._clock()
        if now < self._resumes_at:
            return False
        # The next one waits even if this probe never reports back.
        self._resumes_at = now + self._pause
        return True

    def succeeded(self) -> None:
        """A record was handled, or refused for a reason that the code knows; the code works."""
        if self._resumes_at is not None:
            self._failures.clear()
            self._pause = self._first_pause
            self._resumes_at = None
        self._failures.append(False)

    def failed(self) -> None:
        """A record failed for an unknown reason."""
        self._failures.append(True)
        if self._resumes_at is not None:
            self._pause = min(self._pause * 2, self._longest_pause)
        elif len(self._failures) < self._minimum or sum(self._failures) * 2 <= len(self._failures):
            return
        self._resumes_at = self._clock() + self._pause
