"""Token buckets on a clock of our own."""

from __future__ import annotations

from services.common.ratelimit import TokenBuckets


class Clock:
    """Time that passes when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_burst_then_rate() -> None:
    """A full bucket allows a burst; after it one more comes with each refill, and the wait is told."""
    clock = Clock()
    buckets = TokenBuckets(rate=2, burst=3, monotonic=clock)
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 0.5]
    assert buckets.take("b") == 0
    clock.now += 0.5
    assert [buckets.take("a") for _ in range(2)] == [0, 0.5]
    clock.now += 100
    assert [buckets.take("a") for _ in range(4)] == [0, 0, 0, 0.5]


def test_a_token_given_back() -> None:
    """What is given back can be taken again, and never more than the burst."""
    buckets = TokenBuckets(rate=1, burst=2, monotonic=Clock())
    buckets.take("a")
    for _ in range(5):
        buckets.give_back("a")
    buckets.give_back("stranger")
    assert [buckets.take("a") for _ in range(3)] == [0, 0, 1]


def test_no_rate_no_limit() -> None:
    """Rate 0 limits nothing and remembers nobody."""
    buckets = TokenBuckets(rate=0, burst=1, monotonic=Clock())
    assert {buckets.take("a") for _ in range(1000)} == {0}
    assert not buckets._buckets


def test_memory_is_bounded() -> None:
    """However many keys come, only the latest are remembered."""
    buckets = TokenBuckets(rate=1, burst=1, monotonic=Clock(), capacity=10)
    for number in range(1000):
        buckets.take(number)
    assert list(buckets._buckets) == list(range(990, 1000))
