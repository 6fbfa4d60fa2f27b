"""The statements behind a write: the user's lock and number, the kept answer, the task with what belongs to it."""

from __future__ import annotations

from typing import Any, cast

from sqlalchemy import Table, bindparam, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import joinedload

from services.api.models import IdempotencyKey, RecurringTaskState, Series, Task, UserSeq

# Column → value. What is only ever inserted goes to its table as such: the unit of work costs several times as much.
Row = dict[str, Any]

_WHOLE = (joinedload(Task.series), joinedload(Task.reminder))
# Every write runs these: put together once, they are compiled once.
_SEQS, _KEYS = (cast("Table", model.__table__) for model in (UserSeq, IdempotencyKey))
_NEXT_SEQ = (
    insert(_SEQS)
    .values(user_id=bindparam("user_id"), last_seq=1, floor_seq=0)
    .on_conflict_do_update(index_elements=[_SEQS.c.user_id], set_={"last_seq": _SEQS.c.last_seq + 1})
    .returning(_SEQS.c.last_seq)
)
_TOLD = text("""
WITH change AS (
    INSERT INTO api.changes (user_id, user_seq, task_id, version, event_type, changed, occurred_at)
    VALUES (:user_id, :user_seq, :task_id, :version, :event_type, :changed, :occurred_at)
)
INSERT INTO api.outbox (user_id, user_seq, topic, key, event_id, envelope, created_at)
SELECT :user_id, :user_seq, topic, :key, CAST(envelope ->> 'id' AS uuid), envelope, :occurred_at
FROM jsonb_to_recordset(CAST(:events AS jsonb)) AS events(topic text, envelope jsonb)
""")
_KEEP = insert(_KEYS)


async def next_seq(session: AsyncSession, user_id: int) -> int:
    """The user's next change number; holds the user's lock until the transaction ends."""
    link = await session.connection()
    drawn: int = (await link.execute(_NEXT_SEQ, {"user_id": user_id})).scalar_one()
    return drawn


async def give_back_seq(session: AsyncSession, user_id: int) -> None:
    """Undo `next_seq` in the transaction that took it, so that a user's numbers have no gaps."""
    statement = update(UserSeq).where(UserSeq.user_id == user_id).values(last_seq=UserSeq.last_seq - 1)
    await session.execute(statement, execution_options={"synchronize_session": False})


async def tell(session: AsyncSession, told: Row) -> None:
    """Store a change and its events (`changes.told` has them)."""
    await (await session.connection()).execute(_TOLD, told)


async def kept_answer(session: AsyncSession, user_id: int, key: str) -> IdempotencyKey | None:
    """What the first request with this key was answered; read under the user's lock, or a twin may be overlooked."""
    return await session.get(IdempotencyKey, (user_id, key))


async def keep_answer(session: AsyncSession, answer: Row) -> None:
    """Store what a request with a key was answered."""
    await (await session.connection()).execute(_KEEP, answer)


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
