"""Reads: one task, pages of tasks, changes after a cursor; always within one user's own rows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import BigInteger, ColumnElement, Select, Text, any_, bindparam, func, or_, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession

from services.api.models import Change, Task, UserSeq
from services.api.schemas import ChangePage, ChangeView, TaskPage, TaskQuery, TaskView

# However many of all rows are one user's, no plan reads through everybody's.
PLANNING = "-c enable_seqscan=off"

_VIEW = tuple(getattr(Task, name) for name in TaskView.model_fields)
_VIEWS = TypeAdapter(list[TaskView])
_TASKS = Task.__table__.c
_SORTS = {"created_at": _TASKS.created_at, "due_date": _TASKS.due_date, "priority": _TASKS.priority_rank}
# By the query's field that asks for it.
_CONDITIONS: dict[str, ColumnElement[bool]] = {
    "q": or_(*(column.ilike(bindparam("q"), escape="/") for column in (_TASKS.title, _TASKS.description))),
    "status": _TASKS.status == any_(bindparam("status", type_=ARRAY(Text))),
    "priority": _TASKS.priority == any_(bindparam("priority", type_=ARRAY(Text))),
    # Keys begin with the user: a plain `tags @>` would read the index entries of everybody who uses the tag.
    "tags": _TASKS.tag_keys.contains(bindparam("tags", type_=ARRAY(Text))),
    "further_tags": _TASKS.tags.contains(bindparam("further_tags", type_=ARRAY(Text))),
    "due_from": _TASKS.due_date >= bindparam("due_from"),
    "due_to": _TASKS.due_date < bindparam("due_to"),
}
# As long as a month's page in a calendar: up to there the due dates lead to fewer rows than several tags do.
_NARROW = timedelta(weeks=6)


async def one_task(session: AsyncSession, user_id: int, task_id: int) -> TaskView | None:
    """The user's task, unless it is deleted."""
    statement = select(*_VIEW).where(Task.id == task_id, Task.user_id == user_id, Task.status != "deleted")
    row = (await session.execute(statement)).one_or_none()
    return None if row is None else TaskView.model_validate(row)


async def page(session: AsyncSession, user_id: int, query: TaskQuery) -> TaskPage:
    """The page of the user's tasks that the query asks for."""
    values = values_of(user_id, query)
    rows = await session.execute(page_statement(query), values)
    # A page at once and as dicts: row by row, from attributes, the model takes four times as long.
    items = _VIEWS.validate_python([dict(zip(TaskView.model_fields, row, strict=True)) for row in rows])
    total = query.offset + len(items)
    # A page that is not full is the last one; an empty one may lie far behind it, unless it is the first.
    if len(items) == query.limit or (query.offset and not items):
        total = (await session.execute(total_statement(query), values)).scalar_one()
    return TaskPage(items=items, total=total, offset=query.offset, limit=query.limit)


def page_statement(query: TaskQuery) -> Select[Any]:
    """The statement that reads one page, in an order that is the same each time; `values_of` has its parameters."""
    return _page_statement(_shape(query), query.sort, query.order)


def total_statement(query: TaskQuery) -> Select[Any]:
    """The statement that counts what all pages hold together; `values_of` has its parameters."""
    return _total_statement(_shape(query))


def values_of(user_id: int, query: TaskQuery) -> dict[str, Any]:
    """The parameters of the query's statements for one user."""
    return {"user": user_id, "limit": query.limit, "offset": query.offset, **_given(user_id, query)}


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


def _shape(query: TaskQuery) -> tuple[str, ...]:
    """Which conditions the query has."""
    return tuple(_given(0, query))


def _given(user_id: int, query: TaskQuery) -> dict[str, Any]:
    """The parameters of the query's conditions, by name and always in the same order."""
    given: dict[str, Any] = {name: value for name in _CONDITIONS if (value := getattr(query, name, None))}
    given |= {name: list(value) for name, value in given.items() if isinstance(value, tuple)}
    if query.q:
        literal = re.sub("[%_/]", r"/\g<0>", query.q)
        given["q"] = f"%{literal}%"
    if _is_narrow(query):
        # The planner takes tags of one user for independent, so two of them for far rarer than they are: it would read
        # thousands of rows where the range has hundreds. Of one tag it knows how frequent it is.
        given |= {"tags": query.tags[:1], "further_tags": list(query.tags[1:])}
    if query.tags:
        given["tags"] = [f"{user_id}:{tag}" for tag in given["tags"]]
    return given


def _is_narrow(query: TaskQuery) -> bool:
    """Whether the query is for several tags within a short range of due dates."""
    if len(query.tags) < 2 or query.due_from is None or query.due_to is None:
        return False
    return query.due_to - query.due_from <= _NARROW


# Putting a statement together takes longer than most of them take to be answered, so each shape is made once.
@lru_cache(maxsize=len(_SORTS) * 2 * (1 << len(_CONDITIONS)))
def _page_statement(shape: tuple[str, ...], sort: str, order: str) -> Select[Any]:
    column, tie = _SORTS[sort], _TASKS.id
    ordered = (column.desc(), tie.desc()) if order == "desc" else (column.asc(), tie.asc())
    if sort == "due_date":
        ordered = (ordered[0].nulls_last(), ordered[1])
    statement = select(*(_TASKS[name] for name in TaskView.model_fields)).where(*_where(shape)).order_by(*ordered)
    return statement.limit(bindparam("limit", type_=BigInteger)).offset(bindparam("offset", type_=BigInteger))


@lru_cache(maxsize=1 << len(_CONDITIONS))
def _total_statement(shape: tuple[str, ...]) -> Select[Any]:
    return select(func.count()).select_from(Task.__table__).where(*_where(shape))


def _where(shape: tuple[str, ...]) -> list[ColumnElement[bool]]:
    own = [_TASKS.user_id == bindparam("user"), _TASKS.status != "deleted"]
    return [*own, *(_CONDITIONS[name] for name in shape)]
