"""`verify audit` on a real PostgreSQL: each way to tamper with the log is found, and the first bad row is named."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest

from services.audit.store import AuditLog
from services.common.database import Database
from tests.unit.services.audit.audit_tables import entry, tamper
from tests.unit.services.fake_broker import FakeClock
from tests.unit.services.postgres_server import PostgresServer, TodoDatabase
from tests.unit.services.records import EVENT_TOPICS, MOMENT
from todoctl.adapters import audit_log
from todoctl.adapters.audit_log import Chain
from todoctl.adapters.postgres import PostgresError
from todoctl.core.events import ReminderDetail
from todoctl.operations import audit_check
from todoctl.operations.audit_check import ChainVerdict

CHAIN = Chain("task-events", 0)
_OTHERS = "event_id, record_offset, record_key, action_type, resource_type, resource_id, user_id, user_seq, version"
_COPIED = f"topic, partition, {_OTHERS}, correlation_id, timestamp, recorded_at, details, raw, previous_hash, hash"


async def fill(log: AuditLog, count: int = 8) -> None:
    """A chain of `count` rows, and short ones of the other topics."""
    await log.append([entry(offset=offset, user_seq=offset) for offset in range(1, count + 1)])
    for topic in EVENT_TOPICS:
        await log.append([entry(topic, partition=1, offset=1), entry(topic, partition=1, offset=2)])


def verdicts(todo: TodoDatabase, **known: Any) -> dict[Chain, ChainVerdict]:
    """Chain → what the check says, looked at with an operator's rights."""
    return {
        verdict.chain: verdict for verdict in audit_check.examine(todo.url("todo_operator"), known.get("known", {}))
    }


async def test_an_untouched_log_is_whole(log: AuditLog, todo: TodoDatabase) -> None:
    """Every chain is walked to its end, with the rights of an operator."""
    await fill(log)
    found = verdicts(todo)
    assert {str(chain): verdict.rows for chain, verdict in found.items()} == {
        "task-events/0": 8,
        **{f"{topic}/1": 2 for topic in EVENT_TOPICS},
    }
    assert [verdict.words() for verdict in found.values() if verdict.broken] == []
    assert list(found) == sorted(found)


async def test_every_kind_of_row_is_hashed_as_it_was_written(log: AuditLog, todo: TodoDatabase) -> None:
    """Values that the database writes in its own way come back as the hash was made of them."""
    words = "Grüße \u2028 \\u0000 \x00 \x7f 𝄞 \n\t'\""
    detail = ReminderDetail(reminder_id=9, trigger_at=MOMENT, due_date=MOMENT, title=words)
    odd = entry("reminders", offset=1, user_seq=1, payload=detail, correlation_id=words, occurred_at=MOMENT)
    await log.append([odd, entry(offset=None, user_seq=2)])  # type: ignore[arg-type]  # a record without a place
    with psycopg.connect(todo.admin_url) as link:
        link.execute("ALTER DATABASE {} SET timezone = 'Asia/Kathmandu'".format(todo.name))  # noqa: UP032
        link.execute("ALTER DATABASE {} SET datestyle = 'German'".format(todo.name))  # noqa: UP032
    assert [verdict.broken for verdict in verdicts(todo).values()] == [None, None]


EDITS = [
    ("action_type = 'task.deleted'", 4),
    ("details = '{}'", 4),
    ("timestamp = timestamp + interval '1 microsecond'", 4),
    ("timestamp = '0044-03-15 12:00+00 BC'", 4),
    ("timestamp = 'infinity'", 4),
    ("recorded_at = '20000-01-01'", 4),
    ("user_id = 8", 4),
    ("user_seq = NULL", 4),
    ("raw = '\\x00'", 4),
    ("event_id = gen_random_uuid()", 4),
    ("hash = sha256('x')", 4),
    ("previous_hash = sha256('x')", 4),
]


@pytest.mark.parametrize(("edit", "row"), EDITS, ids=[edit for edit, _ in EDITS])
async def test_an_edited_row_is_named(log: AuditLog, todo: TodoDatabase, edit: str, row: int) -> None:
    """A superuser who edits any column of a row is found at that row, and nowhere else."""
    await fill(log)
    tamper(todo, f"UPDATE audit.audit_logs SET {edit} WHERE topic = 'task-events' AND partition = 0 AND chain_seq = 4")
    found = verdicts(todo)
    broken = found[CHAIN].broken
    assert broken is not None
    assert (broken.chain_seq, broken.damage in {"changed", "unlinked"}) == (row, True)
    assert found[CHAIN].words().startswith(f"task-events/0 row {row} (log_id {broken.log_id}) {broken.damage}: ")
    assert [verdict.chain for verdict in found.values() if verdict.broken] == [CHAIN]


IN_CHAIN = "topic = 'task-events' AND partition = 0"
_HASH_OF_5 = f"(SELECT hash FROM audit.audit_logs WHERE {IN_CHAIN} AND chain_seq = 5)"
TAMPERINGS = {
    "deleted": ([f"DELETE FROM audit.audit_logs WHERE {IN_CHAIN} AND chain_seq = 3"], 3, "missing"),
    "tail truncated": ([f"DELETE FROM audit.audit_logs WHERE {IN_CHAIN} AND chain_seq > 5"], 6, "tail missing"),
    "inserted at the end": (
        [
            f"INSERT INTO audit.audit_logs (chain_seq, {_COPIED}) SELECT 9, {_COPIED} FROM audit.audit_logs"
            f" WHERE {IN_CHAIN} AND chain_seq = 8".replace(
                "SELECT 9, topic, partition, event_id", "SELECT 9, topic, partition, gen_random_uuid()"
            )
        ],
        9,
        "unlinked",
    ),
    "inserted in the middle": (
        [
            "ALTER TABLE audit.audit_logs DROP CONSTRAINT audit_logs_chain_once",
            f"INSERT INTO audit.audit_logs (chain_seq, {_COPIED}) SELECT chain_seq, {_COPIED} FROM audit.audit_logs"
            f" WHERE {IN_CHAIN} AND chain_seq = 3".replace(
                "SELECT chain_seq, topic, partition, event_id", "SELECT chain_seq, topic, partition, gen_random_uuid()"
            ),
        ],
        3,
        None,
    ),
    "reordered": (
        [
            f"UPDATE audit.audit_logs SET chain_seq = chain_seq + 100 WHERE {IN_CHAIN} AND chain_seq IN (2, 6)",
            f"UPDATE audit.audit_logs SET chain_seq = 108 - chain_seq WHERE {IN_CHAIN} AND chain_seq > 100",
        ],
        2,
        "unlinked",
    ),
    "moved to another chain": (
        [f"UPDATE audit.audit_logs SET partition = 5, chain_seq = 1 WHERE {IN_CHAIN} AND chain_seq = 8"],
        8,
        "tail missing",
    ),
    "head hash edited": ([f"UPDATE audit.chain_heads SET hash = sha256('x') WHERE {IN_CHAIN}"], 8, "head changed"),
    "head put back": (
        [
            f"UPDATE audit.chain_heads SET chain_seq = 5, hash = {_HASH_OF_5} WHERE {IN_CHAIN}",
        ],
        6,
        "beyond the head",
    ),
    "head moved on": ([f"UPDATE audit.chain_heads SET chain_seq = 12 WHERE {IN_CHAIN}"], 9, "tail missing"),
    "head deleted": ([f"DELETE FROM audit.chain_heads WHERE {IN_CHAIN}"], 8, "head missing"),
    "all rows deleted": ([f"DELETE FROM audit.audit_logs WHERE {IN_CHAIN}"], 1, "tail missing"),
    "hashes taken away": (
        [
            "ALTER TABLE audit.audit_logs ALTER COLUMN hash DROP NOT NULL",
            f"UPDATE audit.audit_logs SET hash = NULL WHERE {IN_CHAIN} AND chain_seq = 2",
        ],
        2,
        "changed",
    ),
}


@pytest.mark.parametrize(("statements", "row", "damage"), TAMPERINGS.values(), ids=TAMPERINGS.keys())
async def test_tampering_is_named(
    log: AuditLog, todo: TodoDatabase, statements: list[str], row: int, damage: str | None
) -> None:
    """Rows deleted, added, moved, a cut tail and a changed head: each is found at its place."""
    await fill(log)
    tamper(todo, *statements)
    broken = verdicts(todo)[CHAIN].broken
    assert broken is not None
    assert broken.chain_seq == row
    assert damage in {None, broken.damage}


async def test_a_row_that_was_put_into_no_chain_of_ours_is_found(log: AuditLog, todo: TodoDatabase) -> None:
    """Rows under a topic or partition that has no head are a chain too."""
    await fill(log)
    tamper(todo, f"UPDATE audit.audit_logs SET topic = 'x', chain_seq = 1 WHERE {IN_CHAIN} AND chain_seq = 8")
    broken = verdicts(todo)[Chain("x", 0)].broken
    assert broken is not None
    assert broken.chain_seq == 1


async def test_what_an_earlier_run_noted_gives_away_who_rewrote_a_whole_chain(
    log: AuditLog, todo: TodoDatabase
) -> None:
    """A chain that is gone with its head, or was made anew with all its hashes, contradicts the noted heads."""
    await fill(log)
    noted = json.loads(json.dumps({"chains": [verdict.document() for verdict in verdicts(todo).values()]}))
    known = audit_check.known_heads(noted)
    await log.append([entry(offset=50, user_seq=50)])
    assert not any(verdict.broken for verdict in verdicts(todo, known=known).values())
    gone = [f"DELETE FROM {table} WHERE {IN_CHAIN}" for table in ("audit.audit_logs", "audit.chain_heads")]
    tamper(todo, *gone)
    assert CHAIN not in verdicts(todo)
    broken = verdicts(todo, known=known)[CHAIN].broken
    assert broken is not None
    assert (broken.chain_seq, broken.damage) == (1, "tail missing")
    await fill(log)
    assert not any(verdict.broken for verdict in verdicts(todo).values())
    broken = verdicts(todo, known=known)[CHAIN].broken
    assert broken is not None
    assert (broken.chain_seq, broken.damage) == (8, "rewritten")


async def test_a_log_that_grows_meanwhile_is_whole(database: Database, todo: TodoDatabase) -> None:
    """Rows and heads are those of one moment, however much is appended during the check."""
    log = AuditLog(database, clock=FakeClock())
    await fill(log)
    walk = audit_check.examine(todo.url("todo_operator"), {})
    first = next(walk)
    await fill(log, 60)
    assert [verdict.broken for verdict in (first, *walk)] == [None] * 4


def test_an_empty_log_has_no_chains(todo: TodoDatabase) -> None:
    """Nothing is called whole that was not looked at."""
    assert verdicts(todo) == {}


def test_a_database_that_is_away_is_an_error(fragile: tuple[PostgresServer, TodoDatabase]) -> None:
    """Who could not look has no verdict."""
    server, todo = fragile
    server.kill()
    with pytest.raises(PostgresError):
        verdicts(todo)


async def test_chains_are_found_without_reading_every_row(log: AuditLog, todo: TodoDatabase) -> None:
    """The index leads from chain to chain, and rows come in its order without a sort."""
    await fill(log, 300)
    with psycopg.connect(todo.url("todo_operator")) as link:
        link.execute("SET enable_seqscan = off")
        plans = [
            "\n".join(row[0] for row in link.execute(f"EXPLAIN {query}", values))
            for query, values in ((audit_log._CHAINS, ()), (audit_log._ROWS, ("task-events", 0)))
        ]
    assert all("audit_logs_chain_once" in plan for plan in plans), plans
    assert "Sort" not in plans[1]


@pytest.mark.parametrize("document", [[], {}, {"chains": 5}, {"chains": [{}]}, "x", {"chains": [{"topic": "t"}]}])
def test_what_is_no_earlier_result_is_refused(document: Any) -> None:
    """Only what `verify audit -o json` wrote is taken for it."""
    with pytest.raises(ValueError, match="lacks"):
        audit_check.known_heads(document)
