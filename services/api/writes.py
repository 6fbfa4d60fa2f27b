"""Writes: each is one transaction that commits the task, its change, its events and the kept answer, or nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from services.api import handlers, store
from services.api.changes import Cause, EventType, told
from services.api.models import IdempotencyKey, Task
from services.api.schemas import NewTask, NextOccurrence, TaskView
from services.api.store import Row
from services.common.database import Database
from services.common.problems import Problem, field_problem

Clock = Callable[[], datetime]
Apply = Callable[[Task, datetime], tuple[str, ...]]
Check = Callable[[Task], None]


@dataclass(frozen=True, slots=True)
class Ticket:
    """Who writes, because of which request, and how that request is known again when it is repeated."""

    user_id: int
    correlation_id: str
    key: str | None = None
    digest: bytes = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the client gets: a status, the task as JSON (nothing for a deleted one) and its version."""

    status: int
    body: str
    version: int
    outcome: str = "done"
    reminds_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Written:
    task: Task
    status: int
    event_type: EventType
    changed: tuple[str, ...]


_Decide = Callable[[AsyncSession, datetime], Awaitable[_Written]]


class Writer:
    """All writes to tasks; those of one user follow each other."""

    def __init__(self, database: Database, clock: Clock, *, remind: Callable[[datetime], None]) -> None:
        self._database, self._clock, self._remind = database, clock, remind

    async def create(self, ticket: Ticket, wanted: NewTask, *, user_zone: str) -> Answer:
        """Store a new task."""

        async def decide(session: AsyncSession, now: datetime) -> _Written:
            task = handlers.create(wanted, user_id=ticket.user_id, user_zone=user_zone, now=now)
            session.add(task)
            return _Written(task, 201, "task.created", tuple(sorted(wanted.model_fields_set)))

        return await self._write(ticket, decide)

    async def change(self, ticket: Ticket, task_id: int, event_type: EventType, apply: Apply, check: Check) -> Answer:
        """Apply one command to the user's task; `check` may refuse the version it finds."""

        async def decide(session: AsyncSession, now: datetime) -> _Written:
            task = await store.own_task(session, ticket.user_id, task_id)
            if task is None:
                raise no_such_task()
            check(task)
            changed = apply(task, now)
            return _Written(task, 204 if event_type == "task.deleted" else 200, event_type, changed)

        return await self._write(ticket, decide)

    async def succeed(self, order: NextOccurrence) -> Answer:
        """Store the next task of a series, or find the one that is there.

        The completion decides: a predecessor that was reopened, edited or deleted since still gets its one successor.
        """
        ticket = Ticket(user_id=order.user_id, correlation_id=order.correlation_id)

        async def decide(session: AsyncSession, now: datetime) -> _Written:
            existing = await store.successor(session, order.predecessor_task_id)
            if existing is not None and existing.user_id == order.user_id:
                return _Written(existing, 200, "task.created", ())
            task = await _next_task(session, order, now)
            session.add(task)
            return _Written(task, 201, "task.created", ("parent_task_id",))

        return await self._write(ticket, decide)

    async def _write(self, ticket: Ticket, decide: _Decide) -> Answer:
        try:
            async with self._database.transaction() as session:
                answer = await self._decide_once(session, ticket, decide)
        except handlers.InvalidFieldError as error:
            raise field_problem(error.field, error.message) from error
        if answer.reminds_at is not None:
            self._remind(answer.reminds_at)
        return answer

    async def _decide_once(self, session: AsyncSession, ticket: Ticket, decide: _Decide) -> Answer:
        user_seq = await store.next_seq(session, ticket.user_id)
        if ticket.key is not None and (kept := await store.kept_answer(session, ticket.user_id, ticket.key)):
            await store.give_back_seq(session, ticket.user_id)
            return _replay(kept, ticket)
        # Read under the user's lock, so that one user's moments follow their numbers.
        now = self._clock()
        written = await decide(session, now)
        await session.flush()
        if written.changed:
            cause = Cause(written.event_type, written.changed, user_seq, now, ticket.correlation_id)
            await store.tell(session, told(written.task, cause))
        else:
            await store.give_back_seq(session, ticket.user_id)
        answer = _answer(written)
        if ticket.key is not None:
            await store.keep_answer(session, _kept(ticket, answer, now))
        return answer


def no_such_task() -> Problem:
    """The 404 for a task that is not there, is deleted or belongs to somebody else."""
    return Problem(404, "not_found", "no such task")


async def _next_task(session: AsyncSession, order: NextOccurrence, now: datetime) -> Task:
    predecessor = await store.past_task(session, order.user_id, order.predecessor_task_id)
    series = await store.own_series(session, order.user_id, order.series_id)
    if predecessor is None or series is None:
        raise no_such_task()
    store.advance(series.state, order.index, now)
    return handlers.succeed(predecessor, series, order, now)


def _answer(written: _Written) -> Answer:
    body = "" if written.status == 204 else TaskView.model_validate(written.task).model_dump_json()
    reminder = written.task.reminder
    reminds_at = reminder.trigger_at if written.changed and reminder and reminder.state == "scheduled" else None
    outcome = "done" if written.changed else "unchanged"
    return Answer(written.status, body, written.task.version, outcome, reminds_at)


def _kept(ticket: Ticket, answer: Answer, now: datetime) -> Row:
    return {
        "user_id": ticket.user_id,
        "key": ticket.key,
        "request_hash": ticket.digest,
        "status": answer.status,
        "response": answer.body,
        "version": answer.version,
        "created_at": now,
    }


def _replay(kept: IdempotencyKey, ticket: Ticket) -> Answer:
    if kept.request_hash != ticket.digest:
        raise Problem(422, "idempotency_key_reused", "this Idempotency-Key was used for another request")
    return Answer(kept.status, kept.response, kept.version, "replayed")
