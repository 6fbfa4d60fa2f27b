"""The audit log in a real PostgreSQL: every event once, in a chain that shows every change."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest

from services.audit.chains import extend
from services.audit.entries import Entry, letter_entry
from services.audit.store import AuditLog
from services.common.database import Database, DatabaseUnavailable
from services.common.delivery import Delivery
from tests.unit.services.audit.audit_tables import entry, head, rows, tamper, verify
from tests.unit.services.fake_broker import FakeClock
from tests.unit.services.postgres_server import PostgresServer, TodoDatabase
from tests.unit.services.records import BAD_BYTES, EVENT_TOPICS
from todoctl.core.dead_letters import Origin


def entries(count: int, **changes: Any) -> list[Entry]:
    """Entries of different events of one partition."""
    return [entry(**{"offset": offset, "user_seq": offset} | changes) for offset in range(1, count + 1)]


@pytest.mark.parametrize("topic", EVENT_TOPICS)
async def test_an_event_is_stored_with_all_it_says(log: AuditLog, todo: TodoDatabase, topic: str) -> None:
    """Columns for the questions people ask, and the event's data as it was."""
    made = entry(topic, partition=2, offset=17)
    assert await log.append([made]) == 1
    [row] = rows(todo, topic, 2)
    for name in Entry._fields:
        assert row[name] == getattr(made, name), name
    assert (row["chain_seq"], row["user_id"], row["record_offset"]) == (1, 7, 17)
    assert row["resource_type"] == ("reminder" if topic == "reminders" else "task")
    assert verify(todo, topic, 2) is None


async def test_a_batch_lies_in_its_order_in_one_chain(log: AuditLog, todo: TodoDatabase) -> None:
    """Rows are linked in the order of the partition, batch after batch."""
    batch = entries(200)
    assert await log.append(batch) == 200
    later = entry(offset=500)
    assert await log.append([later]) == 1
    stored = rows(todo)
    assert [row["event_id"] for row in stored] == [made.event_id for made in [*batch, later]]
    assert [row["chain_seq"] for row in stored] == list(range(1, 202))
    assert verify(todo) is None


async def test_duplicates_inside_a_batch_are_stored_once(log: AuditLog, todo: TodoDatabase) -> None:
    """The first of them stays."""
    one, two = entries(2)
    again = entry(offset=9, event_id=one.event_id)
    assert await log.append([one, two, again, one]) == 2
    assert [row["record_offset"] for row in rows(todo)] == [1, 2]
    assert verify(todo) is None


async def test_duplicates_across_batches_are_stored_once(log: AuditLog, todo: TodoDatabase) -> None:
    """A redelivered batch, with something new in it, adds only what is new."""
    batch = entries(5)
    await log.append(batch)
    assert await log.append([*batch, entry(offset=6)]) == 1
    assert await log.append(batch) == 0
    assert len(rows(todo)) == 6
    assert verify(todo) is None


async def test_the_same_event_in_two_partitions_is_stored_once(log: AuditLog, todo: TodoDatabase) -> None:
    """A replay into a repartitioned topic brings nothing new."""
    made = entry(partition=0)
    await log.append([made])
    assert await log.append([entry(partition=4, event_id=made.event_id), entry(partition=4, offset=2)]) == 1
    assert verify(todo, partition=4) is None


async def test_two_topics_may_carry_the_same_event_id(log: AuditLog, todo: TodoDatabase) -> None:
    """An event is once per topic."""
    made = entry("task-events")
    assert await log.append([made, entry("task-updates", event_id=made.event_id)]) == 2
    assert verify(todo, "task-updates") is None


async def test_a_mixed_batch_goes_to_its_chains(log: AuditLog, todo: TodoDatabase) -> None:
    """Each topic and partition has its own chain, counted from 1."""
    batch = [entry(topic, partition=partition) for topic in EVENT_TOPICS for partition in (0, 1) for _ in range(3)]
    assert await log.append(batch) == 18
    for topic in EVENT_TOPICS:
        for partition in (0, 1):
            assert [row["chain_seq"] for row in rows(todo, topic, partition)] == [1, 2, 3]
            assert verify(todo, topic, partition) is None


async def test_two_batches_at_once_on_one_chain_make_one_chain(database: Database, todo: TodoDatabase) -> None:
    """After a rebalance two consumers may both have the partition: rows are once and linked."""
    shared = entries(30)
    batches = [shared[start : start + 15] for start in range(0, 16, 3)] + [shared]
    # Each by a log of its own, as in a process of its own: one log alone would write them together.
    counts = await asyncio.gather(*(AuditLog(database, clock=FakeClock()).append(batch) for batch in batches))
    assert sum(counts) == 30
    assert len(rows(todo)) == 30
    assert verify(todo) is None


async def test_a_batch_waits_for_its_chain_before_it_looks_where_it_ends(
    database: Database, todo: TodoDatabase
) -> None:
    """Else it would go on from an end that is none any more, and have to begin anew each time."""
    batch = entries(7)
    log = AuditLog(database, clock=FakeClock())
    await log.append(batch[:1])
    async with await psycopg.AsyncConnection.connect(todo.url("audit")) as link:
        await extend(link, {(batch[0].topic, batch[0].partition): batch[1:4]}, FakeClock()())
        waiting = asyncio.create_task(log.append(batch[4:]))
        with psycopg.connect(todo.admin_url, autocommit=True) as looking:
            async with asyncio.timeout(10):
                while not (held := looking.execute(_HELD).fetchall()):  # noqa: ASYNC110 - the server tells nobody
                    await asyncio.sleep(0.01)
        assert "FROM audit.chain_heads" in held[0][0]
    assert await waiting == 3
    assert verify(todo) is None


_HELD = "SELECT query FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"


async def test_many_writers_on_many_chains_with_shared_events(database: Database, todo: TodoDatabase) -> None:
    """The same events through several partitions at once: each is stored once, every chain is whole."""
    events = entries(40)

    async def deliver(partition: int) -> None:
        log = AuditLog(database, clock=FakeClock())
        # Another order in each partition, as a replay into new partitions would have it.
        order = events[partition * 7 :] + events[: partition * 7]
        moved = [entry(partition=partition, offset=n, event_id=made.event_id) for n, made in enumerate(order)]
        for start in range(0, 40, 4):
            for _ in range(20):
                try:
                    await log.append(moved[start : start + 4])
                    break
                except (DatabaseUnavailable, psycopg.errors.UniqueViolation):
                    continue
            else:
                pytest.fail("a batch never got through")

    await asyncio.gather(*(deliver(partition) for partition in range(5)))
    assert sum(len(rows(todo, partition=partition)) for partition in range(5)) == 40
    for partition in range(5):
        assert verify(todo, partition=partition) is None


async def test_a_transaction_killed_half_way_leaves_nothing(
    log: AuditLog, database: Database, todo: TodoDatabase
) -> None:
    """Rows and head move together: what was killed before its commit is stored whole by the next delivery."""
    await log.append(entries(3))
    batch = entries(50)
    # The lock on the head holds the append inside its transaction until it is killed there.
    async with await psycopg.AsyncConnection.connect(todo.admin_url) as holder:
        await holder.execute("SELECT * FROM audit.chain_heads FOR UPDATE")
        append = asyncio.create_task(log.append(batch))
        await _kill_waiting_backend(todo)
        with pytest.raises(DatabaseUnavailable):
            await append
    assert len(rows(todo)) == 3
    assert verify(todo) is None
    assert await AuditLog(database, clock=FakeClock()).append(batch) == 50
    assert verify(todo) is None


async def _kill_waiting_backend(todo: TodoDatabase) -> None:
    await _waiting_backend(todo, "pg_terminate_backend(pid)")


async def _waiting_backend(todo: TodoDatabase, what: str = "pid") -> None:
    """Until an append waits for a lock; `what` is done to its backend."""
    async with (
        asyncio.timeout(10),
        await psycopg.AsyncConnection.connect(todo.admin_url, autocommit=True) as link,
    ):
        while True:
            found = await link.execute(
                f"SELECT {what} FROM pg_stat_activity"
                " WHERE usename = 'audit' AND wait_event_type = 'Lock' AND datname = current_database()".encode()
            )
            if await found.fetchall():
                return
            await asyncio.sleep(0.01)


# What is delivered while something else is written


async def _append_at_once(log: AuditLog, todo: TodoDatabase, *batches: list[Entry]) -> list[int | BaseException]:
    """What comes of batches that are all delivered while another one is being written."""
    await log.append([entry(partition=9)])
    async with await psycopg.AsyncConnection.connect(todo.admin_url) as holder:
        await holder.execute("SELECT * FROM audit.chain_heads WHERE partition = 9 FOR UPDATE")
        before = asyncio.create_task(log.append([entry(partition=9, offset=2)]))
        await _waiting_backend(todo)
        together = [asyncio.create_task(log.append(batch)) for batch in batches]
        # The tasks run up to where they wait for their turn.
        await asyncio.sleep(0)
        await holder.rollback()
        assert await before == 1
        return await asyncio.gather(*together, return_exceptions=True)


def _transactions(todo: TodoDatabase, *partitions: int) -> set[Any]:
    with psycopg.connect(todo.admin_url) as link:
        found = link.execute("SELECT xmin::text FROM audit.audit_logs WHERE partition = ANY(%s)", [list(partitions)])
        return set(found.fetchall())


async def test_waiting_deliveries_go_in_together(log: AuditLog, todo: TodoDatabase) -> None:
    """In one transaction, each into its own chain, and each is told what was new in it."""
    repeated = entries(3, partition=1)
    batches = [entries(4), repeated, [repeated[1], *entries(2, partition=2)], entries(1, topic="reminders")]
    assert await _append_at_once(log, todo, *batches) == [4, 3, 2, 1]
    assert len(_transactions(todo, 0, 1, 2)) == 1
    assert [len(rows(todo, partition=partition)) for partition in (0, 1, 2)] == [4, 3, 2]
    for topic, partition in (("task-events", 0), ("task-events", 1), ("task-events", 2), ("reminders", 0)):
        assert verify(todo, topic, partition) is None


async def test_deliveries_of_one_partition_stay_in_their_order(log: AuditLog, todo: TodoDatabase) -> None:
    """The second one follows the first in the chain."""
    made = entries(9)
    assert await _append_at_once(log, todo, made[:3], made[3:5], made[5:]) == [3, 2, 4]
    assert [row["event_id"] for row in rows(todo)] == [one.event_id for one in made]
    assert verify(todo) is None


async def test_a_delivery_that_is_refused_fails_alone(log: AuditLog, todo: TodoDatabase) -> None:
    """The others that came with it are stored."""
    with psycopg.connect(todo.admin_url, autocommit=True) as link:
        link.execute("ALTER TABLE audit.audit_logs ADD CHECK (record_offset <> 666)")
    good, bad, other = entries(2), [entry(partition=1, offset=666)], entries(3, partition=2)
    first, refused, third = await _append_at_once(log, todo, good, bad, other)
    assert (first, third) == (2, 3)
    assert isinstance(refused, psycopg.errors.CheckViolation)
    assert [len(rows(todo, partition=partition)) for partition in (0, 1, 2)] == [2, 0, 3]
    assert verify(todo) is None


async def test_large_deliveries_are_not_put_together(log: AuditLog, todo: TodoDatabase) -> None:
    """A transaction that takes too long is cut off, and would come again as long."""
    large = [[made._replace(details=f'"{"x" * 3_000_000}"') for made in entries(1, partition=n)] for n in range(3)]
    assert await _append_at_once(log, todo, *large) == [1, 1, 1]
    assert len(_transactions(todo, 0, 1, 2)) == 3
    assert [len(row["details"]) for row in rows(todo, partition=2)] == [3_000_002]
    assert verify(todo, partition=2) is None


async def test_details_are_stored_as_they_were_written(log: AuditLog, todo: TodoDatabase) -> None:
    """Spaces, escapes, tabs and line ends: not a byte is another one."""
    text = '{ "a" :\t"\\\\ \\" \\u0000 \\n ä 😀", "b":\r\n\n[1.10, 1e5, -0] }'.replace("\\t", "\t")
    made = entry(correlation_id="\\N\ta\nb\r\\")._replace(details=text, record_key="\\.")
    assert await log.append([made]) == 1
    [row] = rows(todo)
    assert (row["details"], row["correlation_id"], row["record_key"]) == (text, "\\N\ta\nb\r\\", "\\.")
    assert verify(todo) is None


async def test_a_database_killed_in_the_middle_loses_nothing(fragile: tuple[PostgresServer, TodoDatabase]) -> None:
    """SIGKILL of the whole server while batches are written: retried, each event is there once and the chain whole."""
    server, todo = fragile
    database = Database(todo.url("audit"), name="audit-test")
    log, batches = AuditLog(database, clock=FakeClock()), [entries(20) for _ in range(30)]
    failed = asyncio.Event()

    async def write() -> None:
        async with asyncio.timeout(60):
            for batch in batches:
                while True:
                    try:
                        await log.append(batch)
                        break
                    except DatabaseUnavailable:
                        failed.set()
                        await asyncio.sleep(0.05)

    writer = asyncio.create_task(write())
    await _some_rows(todo)
    await asyncio.to_thread(server.kill)
    async with asyncio.timeout(20):
        await failed.wait()
    # Not in a thread: PostgreSQL dies with the thread that started it.
    server.start()
    await writer
    await database.aclose()
    assert {row["event_id"] for row in rows(todo)} == {made.event_id for batch in batches for made in batch}
    assert len(rows(todo)) == 600
    assert verify(todo) is None


async def _some_rows(todo: TodoDatabase) -> None:
    async with asyncio.timeout(10):
        while not rows(todo):  # noqa: ASYNC110 - another program's state, seen only by looking
            await asyncio.sleep(0.01)


async def test_whatever_lies_among_the_dead_letters_is_stored(log: AuditLog, todo: TodoDatabase) -> None:
    """A record that is no dead letter is kept as its bytes, once however often it comes."""
    made = []
    for offset, value in enumerate(BAD_BYTES.values()):
        origin = Origin(topic="dlq-events", partition=1, offset=offset, key="\x00k", timestamp_ms=1795475961184)
        made.append(letter_entry(Delivery(value, origin), now=FakeClock()()))
    assert await log.append([*made, *made]) == len(BAD_BYTES)
    assert await log.append(made) == 0
    stored = rows(todo, "dlq-events", 1)
    assert [row["raw"] for row in stored] == list(BAD_BYTES.values())
    assert {(row["details"], row["action_type"]) for row in stored} == {(None, "unreadable")}
    assert verify(todo, "dlq-events", 1) is None


async def test_text_that_postgresql_refuses_is_stored_harmless(log: AuditLog, todo: TodoDatabase) -> None:
    """A NUL in an event is kept as an escape in the details and shown as one in the columns."""
    await log.append([entry(correlation_id="a\x00b" + "c" * 500)])
    [row] = rows(todo)
    assert row["correlation_id"].startswith("a\\x00b")
    assert "a\\u0000b" in row["details"]
    assert verify(todo) is None


# Append-only, and what the chain shows


_CHANGES = (
    "UPDATE audit.audit_logs SET user_id = 8",
    "UPDATE audit.audit_logs SET user_id = 8 WHERE false",
    "DELETE FROM audit.audit_logs",
    "TRUNCATE audit.audit_logs",
    "DELETE FROM audit.chain_heads",
    "TRUNCATE audit.chain_heads",
    "UPDATE audit.chain_heads SET chain_seq = 0",
    "UPDATE audit.chain_heads SET chain_seq = chain_seq",
    "UPDATE audit.chain_heads SET topic = 'x', chain_seq = chain_seq + 1",
)


@pytest.mark.parametrize("role", ["audit", "api", "auth", "todo_operator", "todo_owner"])
async def test_nobody_changes_what_is_written(log: AuditLog, todo: TodoDatabase, role: str) -> None:
    """Not the service, not the others, not even the owner of the table."""
    await log.append(entries(2))
    for statement in _CHANGES:
        with psycopg.connect(todo.url(role)) as link, pytest.raises(psycopg.errors.InsufficientPrivilege):
            link.execute(statement)
    assert verify(todo) is None


@pytest.mark.parametrize("role", ["api", "auth", "dapr_state"])
async def test_other_services_cannot_read_the_log(todo: TodoDatabase, role: str) -> None:
    """Another service's role can't even look into the schema."""
    with psycopg.connect(todo.url(role)) as link, pytest.raises(psycopg.errors.InsufficientPrivilege):
        link.execute("SELECT * FROM audit.audit_logs")


async def test_the_operator_may_read_but_not_write(log: AuditLog, todo: TodoDatabase) -> None:
    """`todoctl verify audit` needs to read rows and heads, and nothing more."""
    await log.append(entries(1))
    with psycopg.connect(todo.url("todo_operator")) as link:
        assert link.execute("SELECT count(*) FROM audit.audit_logs").fetchone() == (1,)
        assert link.execute("SELECT count(*) FROM audit.chain_heads").fetchone() == (1,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            link.execute("INSERT INTO audit.chain_heads SELECT 'x', 0, 0, hash FROM audit.chain_heads")


@pytest.mark.parametrize(
    ("statements", "chain_seq", "damage"),
    [
        (["UPDATE audit.audit_logs SET details = '{}' WHERE chain_seq = 4"], 4, "changed"),
        (['UPDATE audit.audit_logs SET "timestamp" = now() WHERE chain_seq = 4'], 4, "changed"),
        (["UPDATE audit.audit_logs SET user_id = NULL WHERE chain_seq = 1"], 1, "changed"),
        (["DELETE FROM audit.audit_logs WHERE chain_seq = 1"], 1, "missing"),
        (["DELETE FROM audit.audit_logs WHERE chain_seq IN (5, 6)"], 5, "missing"),
        (["DELETE FROM audit.audit_logs WHERE chain_seq > 8"], 9, "tail missing"),
        (
            [
                "UPDATE audit.audit_logs SET chain_seq = 99 WHERE chain_seq = 3",
                "UPDATE audit.audit_logs SET chain_seq = 3 WHERE chain_seq = 7",
                "UPDATE audit.audit_logs SET chain_seq = 7 WHERE chain_seq = 99",
            ],
            3,
            "unlinked",
        ),
        (
            [
                """
                INSERT INTO audit.audit_logs (topic, partition, chain_seq, event_id, action_type, resource_type,
                    "timestamp", recorded_at, previous_hash, hash)
                SELECT topic, partition, 11, gen_random_uuid(), action_type, resource_type,
                    "timestamp", recorded_at, hash, hash FROM audit.audit_logs WHERE chain_seq = 10
                """
            ],
            11,
            "changed",
        ),
        (["DELETE FROM audit.chain_heads"], 10, "head missing"),
    ],
)
async def test_each_kind_of_tampering_is_found(
    log: AuditLog, todo: TodoDatabase, statements: list[str], chain_seq: int, damage: str
) -> None:
    """Edited, deleted, swapped, inserted and cut-off rows are found where they are, by rights no service has."""
    await log.append(entries(10))
    assert head(todo) is not None
    tamper(todo, *statements)
    broken = verify(todo)
    assert broken is not None
    assert (broken.chain_seq, broken.damage) == (chain_seq, damage)
