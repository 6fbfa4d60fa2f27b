"""The platform's own tables as a trace reads them: tasks, changes, reminders, outbox, audit rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from todoctl.core.events import TASK_EVENTS, TASK_UPDATES
from todoctl.core.trace import Reminder, Seen, Task

_TASK = "SELECT id, user_id, status, version, title, created_at, parent_task_id FROM api.tasks"
# More of one subject than a person reads, and little enough for a query that an operator runs in anger.
MOST = 500

_AUDIT = """
SELECT topic, partition, record_offset, event_id::text, action_type, user_id, user_seq, "timestamp", correlation_id,
       details, log_id, chain_seq, recorded_at
FROM audit.audit_logs
"""


def tasks(link: Any, numbers: Sequence[int]) -> list[Task]:
    """The tasks with these numbers, deleted ones too."""
    return [Task(*row) for row in link.execute(f"{_TASK} WHERE id = ANY(%s)", ([*numbers],))]


def successors(link: Any, numbers: Sequence[int]) -> dict[int, Task]:
    """Number of a task → the task that follows it in its series."""
    found = [Task(*row) for row in link.execute(f"{_TASK} WHERE parent_task_id = ANY(%s)", ([*numbers],))]
    return {task.parent_task_id: task for task in found if task.parent_task_id is not None}


def reminders(link: Any, numbers: Sequence[int]) -> list[Reminder]:
    """The reminders of these tasks."""
    query = "SELECT id, task_id, trigger_at, state FROM api.reminders WHERE task_id = ANY(%s)"
    return [Reminder(*row) for row in link.execute(query, ([*numbers],))]


def changes(link: Any, task: Task) -> list[Seen]:
    """What every change of the task must have told: one event for those who act on it, one for open pages."""
    query = """
        SELECT event_type, user_seq, occurred_at FROM api.changes WHERE user_id = %s AND task_id = %s
        ORDER BY user_seq DESC LIMIT %s
    """
    return [
        Seen(topic, kind, task.user_id, task.id, seq, moment)
        for event_type, seq, moment in link.execute(query, (task.user_id, task.id, MOST))
        for topic, kind in ((TASK_EVENTS, event_type), (TASK_UPDATES, "task.sync"))
    ]


def audited(link: Any, **wanted: Sequence[object]) -> list[dict[str, Any]]:
    """Rows of the audit log whose column is one of the wanted values; any of `wanted` suffices, the newest first."""
    from psycopg.rows import dict_row

    columns = {
        "event_ids": "event_id = ANY(%s::uuid[])",
        "correlations": "correlation_id = ANY(%s::text[])",
        "tasks": "resource_type = 'task' AND resource_id = ANY(%s::bigint[])",
        "reminders": "resource_type = 'reminder' AND resource_id = ANY(%s::bigint[])",
    }
    given = {columns[name]: [*values] for name, values in wanted.items() if values}
    rows: dict[int, dict[str, Any]] = {}
    with link.cursor(row_factory=dict_row) as cursor:
        # One query for each column, so that each one has its index.
        for condition, values in given.items():
            query = f"{_AUDIT} WHERE {condition} ORDER BY log_id DESC LIMIT {MOST}"
            rows |= {row["log_id"]: row for row in cursor.execute(query, (values,))}
    return list(rows.values())


def waiting(link: Any, *, users: Sequence[int], word: str) -> list[dict[str, Any]]:
    """Entries of the outbox: of these users, or with this event id or correlation id."""
    from psycopg.rows import dict_row

    query = f"""
        SELECT topic, event_id::text, envelope, created_at FROM api.outbox
        WHERE user_id = ANY(%s) OR event_id::text = %s OR envelope->'data'->>'correlation_id' = %s
        ORDER BY id LIMIT {MOST}
    """  # noqa: S608 - a number of ours
    with link.cursor(row_factory=dict_row) as cursor:
        return list(cursor.execute(query, ([*users], word, word)))
