"""`trace` on the real platform: one hop after the other is taken away, and it names that hop."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from confluent_kafka import Producer

from services.common.locks import Lock
from tests.live import users
from tests.live.conftest import Platform, until
from tests.live.users import User
from tests.program import Ended
from todoctl.adapters.processes import supervisor
from todoctl.core.site import Folders


def trace(platform: Platform, subject: object, *options: str) -> Ended:
    """The command, finished."""
    return platform.run("trace", str(subject), "-o", "json", *options)


def complete(platform: Platform, subject: object) -> dict[str, Any]:
    """The trace once its path is complete."""
    result = until(
        180, lambda: (found := trace(platform, subject)).code == 0 and found, f"a complete path of {subject}"
    )
    return dict(result.json())


def broken(platform: Platform, subject: object, *words: str, only: str = "") -> dict[str, Any]:
    """The trace once a gap says all the words, and every gap is of the part `only`; it ends with 3.

    A part that runs may be behind for a moment, and a trace that says so is right.
    """

    def look() -> dict[str, Any] | None:
        result = trace(platform, subject)
        found = result.json()
        named = any(all(word in gap for word in words) for gap in found["gaps"])
        alone = not only or {gap.partition(":")[0] for gap in found["gaps"]} == {only}
        return found if result.code == 3 and found["verdict"] == "broken" and named and alone else None

    return dict(until(180, look, f"a gap with {words} {only and 'of it alone'}"))


@pytest.fixture
def user(platform: Platform) -> Iterator[User]:
    """A user of the test's own."""
    with users.register(platform) as made:
        yield made


@contextmanager
def stopped(platform: Platform, *names: str) -> Iterator[None]:
    """Parts that don't run meanwhile, and run again afterwards."""
    with supervisor.connect(Folders(platform.home / "local")) as control:
        assert sorted(control.stop(names)) == sorted(names)
        try:
            yield
        finally:
            for name in names:
                control.start(name)


@contextmanager
def administrator(platform: Platform) -> Iterator[psycopg.Connection[Any]]:
    """The server's administrator in the platform's database, whom no trigger stops."""
    with psycopg.connect(platform.database("postgres").rpartition("/")[0] + "/todo", autocommit=True) as link:
        link.execute("SET session_replication_role = replica")
        yield link


def letters_of(found: dict[str, Any], stage: str) -> list[str]:
    """What the steps of one stage say."""
    return [step["words"] for step in found["steps"] if step["stage"] == stage]


def test_a_whole_path(platform: Platform, user: User) -> None:
    """A recurring task's way to its next occurrence, by its number, an event id and a correlation id; nothing is read."""
    task = user.create(**users.recurring(1))
    user.complete(task["id"])
    found = complete(platform, task["id"])
    assert found["subject"] == {"kind": "task", "id": str(task["id"])}
    assert found["records_read"] == 0
    stages = {step["stage"] for step in found["steps"]}
    assert stages == {"api", "topic task-events", "topic task-updates", "recurring", "audit", "sync"}
    assert any("next occurrence: task" in words for words in letters_of(found, "recurring"))
    event = next(step["event_id"] for step in found["steps"] if step["words"].startswith("task.completed"))
    assert complete(platform, event)["subject"] == {"kind": "event", "id": event}
    assert complete(platform, f"event:{event}")["verdict"] == "complete"
    row = next(row for row in user.audit() if row["event_id"] == event)
    by_correlation = complete(platform, f"correlation:{row['correlation_id']}")
    assert event in {step["event_id"] for step in by_correlation["steps"]}
    lines = platform.must("trace", event, "-o", "jsonl").out.splitlines()
    assert {json.loads(line)["event_id"] for line in lines} == {event}


def test_what_nobody_knows_is_no_success(platform: Platform) -> None:
    """An id without a trace ends with 3, as does a task that never was."""
    for unknown in ("999999999", "3b2f6c1e-0d57-4c39-9d0e-5a6a3f1f7d10", "never-seen"):
        result = trace(platform, unknown)
        assert (result.code, "nothing is known of" in result.err) == (3, True), result.err


def test_a_stopped_service_is_named(platform: Platform, user: User) -> None:
    """A consumer that does not run: published, not consumed by it, with its lag; whole again once it runs."""
    with stopped(platform, "recurring"):
        task = user.create(**users.recurring(1))
        user.complete(task["id"])
        words = "task.completed published, not consumed by recurring, lag", "retry"
        found = broken(platform, task["id"], *words, only="recurring")
        assert any("recurring: no answer" in gap for gap in found["gaps"])
    complete(platform, task["id"])


def test_a_stopped_sidecar_leaves_a_group_without_members(platform: Platform, user: User) -> None:
    """Without its sidecar nothing is delivered, and the group says so."""
    with stopped(platform, "recurring-daprd"):
        task = user.create(title="once")
        broken(platform, task["id"], "not consumed by recurring", "no members")
    complete(platform, task["id"])


def test_audit_behind_is_named_and_its_events_are_still_found(platform: Platform, user: User) -> None:
    """Without audit rows the places come from the topics themselves: from the moment on, in the key's partition."""
    with stopped(platform, "audit-daprd", "audit"):
        task = user.create(title="unseen by audit")
        found = broken(platform, task["id"], "task.created published, not consumed by audit", only="audit")
        assert 0 < found["records_read"] < 200
        event = next(step["event_id"] for step in found["steps"] if step["words"].startswith("task.created published"))
        assert broken(platform, event, "not consumed by audit")["subject"] == {"kind": "event", "id": event}
    complete(platform, task["id"])


@contextmanager
def relay_held_back(platform: Platform) -> Iterator[None]:
    """The outbox's relay without its lock: another session has it."""
    with administrator(platform) as link:

        def take() -> bool:
            link.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'api-relay'")
            row = link.execute("SELECT pg_try_advisory_lock(%s)", (int(Lock.RELAY),)).fetchone()
            return bool(row and row[0])

        until(30, take, "the relay's lock")
        yield


def test_an_outbox_that_is_held_back_is_named(platform: Platform, user: User) -> None:
    """Committed and not published: the outbox, how long, and when it is tried again."""
    with relay_held_back(platform):
        task = user.create(title="held back")
        broken(platform, task["id"], "task.created: task-events: in the outbox for", "not published", only="outbox")
    complete(platform, task["id"])


def test_a_missing_audit_row_is_named(platform: Platform, user: User) -> None:
    """What audit has passed without a row of it; the record is found on its topic all the same."""
    task = user.create(title="erased")
    complete(platform, task["id"])
    with administrator(platform) as link:
        columns = [
            row[0]
            for row in link.execute(
                "SELECT column_name FROM information_schema.columns WHERE table_schema = 'audit' AND table_name = 'audit_logs'"
            )
        ]
        names = ", ".join(f'"{name}"' for name in columns)
        link.execute(
            f"CREATE TEMP TABLE kept AS SELECT {names} FROM audit.audit_logs WHERE resource_id = {task['id']}"
            " AND topic = 'task-events'"
        )
        link.execute(f"DELETE FROM audit.audit_logs WHERE resource_id = {task['id']} AND topic = 'task-events'")
        try:
            found = broken(platform, task["id"], "audit has passed task-events/", "no row of it")
            assert len(found["gaps"]) == 1
        finally:
            link.execute(f"INSERT INTO audit.audit_logs ({names}) OVERRIDING SYSTEM VALUE SELECT {names} FROM kept")
    complete(platform, task["id"])


def test_a_mail_that_is_not_sent_is_named(platform: Platform, user: User) -> None:
    """While the mail server is away notification has not consumed the reminder; a mail that is gone is missed too."""
    with stopped(platform, "mailsink"):
        due = (datetime.now(UTC) + timedelta(seconds=2)).isoformat()
        task = user.create(title="remind me", due_date=due, reminder_offset="PT0S")
        broken(platform, task["id"], "reminder.due published, not consumed by notification")
    found = complete(platform, task["id"])
    assert any("kept by the sink" in words for words in letters_of(found, "mail"))
    number = next(mail for mail in platform.must("mail", "list", "-o", "json").json() if mail["task_id"] == task["id"])
    path = Path(platform.must("mail", "show", str(number["number"]), "-o", "json").json()["path"])
    hidden = path.with_suffix(".hidden")
    path.rename(hidden)
    try:
        broken(platform, task["id"], "said to be sent, and the sink has no such mail")
    finally:
        hidden.rename(path)
    complete(platform, task["id"])


def test_a_dead_letter_is_named_and_traced(platform: Platform, user: User) -> None:
    """A record that a consumer refuses: the letter's reason by event, and by the letter's own id."""
    event_id, correlation = str(secrets.token_hex(16)), f"dead-{secrets.token_hex(4)}"
    event_id = f"{event_id[:8]}-{event_id[8:12]}-4{event_id[13:16]}-8{event_id[17:20]}-{event_id[20:]}"
    data = {"event_id": event_id, "correlation_id": correlation, "schema_version": "9.0", "user_id": user.id}
    value = json.dumps({"specversion": "1.0", "id": event_id, "type": "task.created", "data": data}).encode()
    producer = Producer({"bootstrap.servers": f"127.0.0.1:{platform.port('kafka')}", "partitioner": "fnv1a_random"})
    producer.produce("task-events", key=str(user.id).encode(), value=value)
    assert producer.flush(10) == 0
    found = broken(platform, f"correlation:{correlation}", "dead letter", "by recurring", "schema_version")
    words = next(gap for gap in found["gaps"] if "by recurring" in gap)
    letter = words.split()[4]
    by_letter = broken(platform, letter, "by recurring")
    assert by_letter["subject"] == {"kind": "letter", "id": letter}


def test_an_unreachable_broker_is_no_success(platform: Platform, user: User) -> None:
    """Without Kafka what is known is shown, what is not is said, and the end is 3."""
    task = user.create(title="before the outage")
    complete(platform, task["id"])
    with stopped(platform, "kafka"):
        result = trace(platform, task["id"])
        found = result.json()
        assert (result.code, found["verdict"]) == (3, "unknown")
        assert any("Kafka does not listen" in words for words in found["blind"])
        assert letters_of(found, "api")
    complete(platform, task["id"])
