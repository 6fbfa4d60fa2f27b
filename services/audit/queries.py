"""Pages of the audit log: everything for operators, one's own events for everybody else."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Select, func, select

from services.audit.models import AuditRow
from services.audit.schemas import LogItem, LogPage, LogQuery
from services.common.database import Database
from services.common.problems import Problem
from services.common.tokens import Principal
from todoctl.core.events import DEAD_LETTERS

_SHOWN = tuple(getattr(AuditRow, name) for name in ("record_offset", *(set(LogItem.model_fields) - {"offset"})))


async def page(database: Database, principal: Principal, query: LogQuery) -> LogPage:
    """The page that the query asks for, of what the principal may see.

    Raises:
        Problem: 403, another user's entries were asked for.
    """
    conditions = [*_visible_to(principal, query), *_filters(query)]
    async with database.transaction() as session:
        rows = await session.execute(_page(conditions, principal, query))
        items = [LogItem.model_validate(row) for row in rows]
        total = await session.scalar(select(func.count()).select_from(AuditRow).where(*conditions))
    return LogPage(items=items, total=total or 0, offset=query.offset, limit=query.limit)


def _page(conditions: list[ColumnElement[bool]], principal: Principal, query: LogQuery) -> Select[Any]:
    of_one_user = query.user_id is not None or not principal.is_operator
    # Within one user the sequence is the order of what happened, whichever topic or partition brought it.
    order = (AuditRow.user_seq, AuditRow.log_id) if of_one_user else (AuditRow.timestamp, AuditRow.log_id)
    return select(*_SHOWN).where(*conditions).order_by(*order).offset(query.offset).limit(query.limit)


def _visible_to(principal: Principal, query: LogQuery) -> list[ColumnElement[bool]]:
    if principal.is_operator:
        return []
    if query.user_id not in {None, principal.user_id}:
        raise Problem(403, "forbidden", "only operators see other users' entries")
    # A bad record only claims to be about a user; its bytes are for operators.
    return [AuditRow.user_id == principal.user_id, AuditRow.topic != DEAD_LETTERS]


def _filters(query: LogQuery) -> list[ColumnElement[bool]]:
    names = ("user_id", "action_type", "resource_type", "resource_id", "correlation_id", "event_id")
    given = [(getattr(AuditRow, name), getattr(query, name)) for name in names]
    conditions = [column == value for column, value in given if value is not None]
    if query.since is not None:
        conditions.append(AuditRow.timestamp >= query.since)
    if query.until is not None:
        conditions.append(AuditRow.timestamp < query.until)
    return conditions
