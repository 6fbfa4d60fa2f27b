"""Reads: one task, pages of tasks, changes after a cursor; always within one user's own rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from services.api.models import Change, Task, UserSeq
from services.api.schemas import ChangePage, ChangeView, TaskPage, TaskQuery, TaskView

# However many of all rows are one user's, no plan reads through everybody's.
PLANNING = "-c enable_seqscan=off"

_VIEW = tuple(getattr(Task, name) for name in TaskView.model_fields)
_SORTS: dict[str, Any] = {"created_at": Task.created_at, "due_date": Task.due_date, "priority": Task.priority_rank}


async def one_task(session: AsyncSession, user_id: int, task_id: int) -> TaskView | None:
    """The user's task, unless it is deleted."""
    statement = select(*_VIEW).where(Task.id == task_id, Task.user_id == user_id, Task.status != "deleted")
    row = (await session.execute(statement)).one_or_none()
    return None if row is None else TaskView.model_validate(row)


async def page(session: AsyncSession, user_id: int, query: TaskQuery) -> TaskPage:
    """The page of the user's tasks that the query asks for."""
    rows = await session.execute(page_statement(user_id, query))
    items = [TaskView.model_validate(row) for row in rows]
    total = query.offset + len(items)
    # A page that is not full is the last one; an empty one may lie far behind it.
    if len(items) in {0, query.limit}:
        total = (await session.execute(total_statement(user_id, query))).scalar_one()
    return TaskPage(items=items, total=total, offset=query.offset, limit=query.limit)


def page_statement(user_id: int, query: TaskQuery) -> Select[Any]:
    """The statement that reads one page, in an order that is the same each time."""
    column = _SORTS[query.sort]
    ordered = column.desc() if query.order == "desc" else column.asc()
    if query.sort == "due_date":
        ordered = ordered.nulls_last()
    tie = Task.id.desc() if query.order == "desc" else Task.id.asc()
    conditions = _conditions(user_id, query)
    return select(*_VIEW).where(*conditions).order_by(ordered, tie).limit(query.limit).offset(query.offset)


def total_statement(user_id: int, query: TaskQuery) -> Select[Any]:
    """The statement that counts what all pages hold together."""
    return select(func.count()).select_from(Task).where(*_conditions(user_id, query))


async def changes(session: AsyncSession, user_id: int, since: int, limit: int) -> ChangePage:
    """The user's changes after a cursor, oldest first, each with the task as it is now."""
    statement = (
        select(Change.user_seq, Change.event_type, Change.changed, Change.occurred_at, *_VIEW)
        .join(Task, Task.id == Change.task_id)
        .where(Change.user_id == user_id, Change.user_seq > since)
        .order_by(Change.user_seq)
        .limit(limit)
    )
    rows = (await session.execute(statement)).all()
    # Read after the changes: rows that are cleared away in between then lead to a resync, not to a gap.
    marks = (await session.execute(select(UserSeq).where(UserSeq.user_id == user_id))).scalar_one_or_none()
    head, floor = (marks.last_seq, marks.floor_seq) if marks else (0, 0)
    if not floor <= since <= head:
        return ChangePage(items=[], cursor=head, head=head, resync=True)
    items = [_change(row) for row in rows]
    return ChangePage(items=items, cursor=items[-1].user_seq if items else since, head=head, resync=False)


async def heads(session: AsyncSession, user_ids: Sequence[int]) -> dict[int, int]:
    """User → the number of the user's last change, for those who have one."""
    statement = select(UserSeq.user_id, UserSeq.last_seq).where(UserSeq.user_id.in_(user_ids))
    return {row.user_id: row.last_seq for row in await session.execute(statement)}


def _change(row: Any) -> ChangeView:
    task = TaskView.model_validate(row)
    return ChangeView(
        user_seq=row.user_seq, event_type=row.event_type, changed=row.changed, occurred_at=row.occurred_at, task=task
    )


def _conditions(user_id: int, query: TaskQuery) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = [Task.user_id == user_id, Task.status != "deleted"]
    if query.q:
        conditions.append(or_(_contains(Task.title, query.q), _contains(Task.description, query.q)))
    if query.status:
        conditions.append(Task.status.in_(query.status))
    if query.priority:
        conditions.append(Task.priority.in_(query.priority))
    if query.tags:
        # Keys begin with the user: a plain `tags @>` would read the index entries of everybody who uses the tag.
        conditions.append(Task.tag_keys.contains([f"{user_id}:{tag}" for tag in query.tags]))
    if query.due_from:
        conditions.append(Task.due_date >= query.due_from)
    if query.due_to:
        conditions.append(Task.due_date < query.due_to)
    return conditions


def _contains(column: Any, text: str) -> ColumnElement[bool]:
    return column.icontains(text, autoescape=True)  # type: ignore[no-any-return]  # the column's type is open here
