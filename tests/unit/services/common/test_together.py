"""Small calls that go out together: each caller gets its own answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from services.common.together import Together


async def test_what_is_asked_at_one_moment_is_one_call() -> None:
    """Each gets the answer to its own item, in calls of no more than the most."""
    calls: list[list[int]] = []

    async def double(items: Sequence[int]) -> list[int | Exception]:
        calls.append(list(items))
        return [2 * item for item in items]

    together: Together[int, int] = Together(double, most=4)
    assert await asyncio.gather(*(together.ask(item) for item in range(10))) == [2 * item for item in range(10)]
    assert calls == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert await together.ask(10) == 20


async def test_a_failure_is_the_failure_of_those_who_asked() -> None:
    """An item's own exception is its caller's alone; what the call raises is everybody's, and the next call is a new one."""

    async def judge(items: Sequence[str]) -> list[str | Exception]:
        if "all" in items:
            raise ConnectionError("away")
        return [ValueError(item) if item == "one" else item for item in items]

    together: Together[str, str] = Together(judge)
    answers = await asyncio.gather(together.ask("good"), together.ask("one"), return_exceptions=True)
    assert (answers[0], str(answers[1]), type(answers[1])) == ("good", "one", ValueError)
    answers = await asyncio.gather(together.ask("good"), together.ask("all"), return_exceptions=True)
    assert [type(answer) for answer in answers] == [ConnectionError, ConnectionError]
    assert await together.ask("good") == "good"


async def test_a_caller_that_gives_up_disturbs_nobody() -> None:
    """Its answer is thrown away."""

    async def slow(items: Sequence[int]) -> list[int | Exception]:
        await asyncio.sleep(0.05)
        return list(items)

    together: Together[int, int] = Together(slow)
    first, second = (asyncio.create_task(together.ask(item)) for item in (1, 2))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == 2
    with pytest.raises(asyncio.CancelledError):
        await first
