"""Looking into the audit log as an administrator: rows, heads, verification."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.rows import dict_row

from services.audit.entries import Entry, event_entry
from services.common.delivery import Delivery
from tests.unit.services.postgres_server import TodoDatabase
from tests.unit.services.records import record
from todoctl.core.audit_chain import Broken, Head, verify_chain
from todoctl.core.dead_letters import Origin

_ROWS = """
SELECT *, details::text AS details FROM audit.audit_logs WHERE topic = %s AND partition = %s ORDER BY chain_seq
"""


def entry(topic: str = "task-events", *, partition: int = 0, offset: int = 1, **changes: Any) -> Entry:
    """The entry of a sound event."""
    origin = Origin(topic=topic, partition=partition, offset=offset, key="7", timestamp_ms=1795475961184)
    return event_entry(Delivery(record(topic, **changes), origin))


def rows(todo: TodoDatabase, topic: str = "task-events", partition: int = 0) -> list[dict[str, Any]]:
    """One chain's rows in order."""
    with psycopg.connect(todo.admin_url, row_factory=dict_row) as link:
        return link.execute(_ROWS, (topic, partition)).fetchall()


def head(todo: TodoDatabase, topic: str = "task-events", partition: int = 0) -> Head | None:
    """One chain's head."""
    with psycopg.connect(todo.admin_url) as link:
        found = link.execute(
            "SELECT chain_seq, hash FROM audit.chain_heads WHERE topic = %s AND partition = %s", (topic, partition)
        ).fetchone()
    return None if found is None else Head(chain_seq=found[0], hash=found[1])


def verify(todo: TodoDatabase, topic: str = "task-events", partition: int = 0) -> Broken | None:
    """What the verification says about one chain as it lies in the database."""
    return verify_chain(rows(todo, topic, partition), head(todo, topic, partition))


def tamper(todo: TodoDatabase, *statements: str) -> None:
    """Change rows as only somebody with the server's own rights can."""
    with psycopg.connect(todo.admin_url) as link:
        link.execute("SET session_replication_role = replica")
        for statement in statements:
            link.execute(statement)
