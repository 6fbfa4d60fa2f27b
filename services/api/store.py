"""The statements behind a write: the user's lock and number, the kept answer, the task with what belongs to it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from services.api.models import IdempotencyKey, RecurringTaskState, Series, Task, UserSeq

_WHOLE = (joinedload(Task.series), joinedload(Task.reminder))


async def next_seq(session: AsyncSession, user_id: int) -> int:
    """The user's next change number; holds the user's lock until the transaction ends."""
    statement = (
        insert(UserSeq)
        .values(user_id=user_id, last_seq=1, floor_seq=0)
        .on_conflict_do_update(index_elements=[UserSeq.user_id], set_={"last_seq": UserSeq.last_seq + 1})
        .returning(UserSeq.last_seq)
    )
    return (await session.execute(statement)).scalar_one()


async def give_back_seq(session: AsyncSession, user_id: int) -> None:
    """Undo `next_seq` in the transaction that took it, so that a user's numbers have no gaps."""
    statement = update(UserSeq).where(UserSeq.user_id == user_id).values(last_seq=UserSeq.last_seq - 1)
    await session.execute(statement, execution_options={"synchronize_session": False})


async def kept_answer(session: AsyncSession, user_id: int, key: str) -> IdempotencyKey | None:
    """What the first request with this key was answered; read under the user's lock, or a twin may be overlooked."""
    return await session.get(IdempotencyKey, (user_id, key))


async def own_task(session: AsyncSession, user_id: int, task_id: int) -> Task | None:
    """The user's task, unless it is deleted."""
    return await _task(session, Task.id == task_id, Task.user_id == user_id, Task.status != "deleted")


async def past_task(session: AsyncSession, user_id: int, task_id: int) -> Task | None:
    """The user's task, even a deleted one."""
    return await _task(session, Task.id == task_id, Task.user_id == user_id)


async def successor(session: AsyncSession, predecessor_id: int) -> Task | None:
    """The task that was made when the predecessor was completed, even a deleted one."""
    return await _task(session, Task.parent_task_id == predecessor_id)


async def own_series(session: AsyncSession, user_id: int, series_id: int) -> Series | None:
    """The user's series with how far it has come."""
    statement = select(Series).where(Series.id == series_id, Series.user_id == user_id)
    return (await session.execute(statement.options(joinedload(Series.state)))).scalar_one_or_none()


def advance(state: RecurringTaskState, index: int, now: Any) -> None:
    """Note that the series has come to `index`."""
    state.last_index = max(state.last_index, index)
    state.last_generated_at = now


async def _task(session: AsyncSession, *conditions: Any) -> Task | None:
    return (await session.execute(select(Task).where(*conditions).options(*_WHOLE))).scalar_one_or_none()
