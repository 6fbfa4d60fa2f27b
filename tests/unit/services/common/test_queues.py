"""The light queue and event against asyncio's own: the same order, the same waiting."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.queues import LightEvent, LightQueue

KINDS = [LightQueue, asyncio.Queue]


async def _settled() -> None:
    """Let everybody go as far as it can."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.mark.parametrize("kind", KINDS)
async def test_items_come_in_their_order(kind: Any) -> None:
    """And none where there is none."""
    made = kind()
    await made.put(1)
    made.put_nowait(2)
    assert (made.qsize(), made.empty()) == (2, False)
    assert [await made.get(), made.get_nowait()] == [1, 2]
    assert made.empty()
    with pytest.raises(asyncio.QueueEmpty):
        made.get_nowait()


@pytest.mark.parametrize("kind", KINDS)
async def test_an_item_goes_past_one_who_gave_up(kind: Any) -> None:
    """To the next who waits."""
    made = kind()
    first, second = asyncio.create_task(_got(made)), asyncio.create_task(_got(made))
    await _settled()
    first.cancel()
    made.put_nowait("x")
    assert await asyncio.wait_for(second, 5) == "x"
    assert first.cancelled()


async def _got(made: Any) -> Any:
    return await made.get()


@pytest.mark.parametrize("kind", KINDS)
async def test_join_waits_until_all_is_dealt_with(kind: Any) -> None:
    """Taken is not dealt with."""
    made = kind()
    await asyncio.wait_for(made.join(), 5)
    made.put_nowait(1)
    joining = [asyncio.create_task(made.join()) for _ in range(2)]
    made.get_nowait()
    await _settled()
    assert not any(each.done() for each in joining)
    made.task_done()
    await asyncio.wait_for(asyncio.gather(*joining), 5)


@given(st.lists(st.sampled_from(["put", "get", "cancel", "look"]), max_size=60))
def test_it_does_what_asyncio_s_own_does(steps: list[str]) -> None:
    """Whatever is done with both, step by step."""

    async def do(made: Any) -> list[Any]:
        seen: list[Any] = []
        getting: list[asyncio.Task[Any]] = []
        for number, step in enumerate(steps):
            await _settled()  # asyncio's own lets who has just come take what was meant for who waits
            if step == "put":
                made.put_nowait(number)
            elif step == "get":
                getting.append(asyncio.create_task(_got(made)))
            elif step == "cancel" and getting:
                getting[number % len(getting)].cancel()
            else:
                seen.append([each.result() if each.done() and not each.cancelled() else None for each in getting])
        await _settled()
        seen.append((made.qsize(), [each.done() and not each.cancelled() for each in getting]))
        for each in getting:
            each.cancel()
        await asyncio.gather(*getting, return_exceptions=True)
        return seen

    light, own = (asyncio.run(do(kind())) for kind in (LightQueue, asyncio.Queue))
    assert light == own


@pytest.mark.parametrize("made", [LightEvent(), asyncio.Event()])
async def test_an_event(made: Any) -> None:
    """All who wait go on, one who gave up does no harm, and who comes later does not wait until it is cleared."""
    waiting = [asyncio.create_task(made.wait()) for _ in range(3)]
    await _settled()
    waiting[0].cancel()
    await _settled()
    assert not made.is_set()
    made.set()
    assert await asyncio.wait_for(asyncio.gather(*waiting[1:]), 5) == [True, True]
    assert await asyncio.wait_for(made.wait(), 5)
    made.clear()
    last = asyncio.create_task(made.wait())
    await _settled()
    assert not last.done()
    made.set()
    assert await asyncio.wait_for(last, 5)
