"""The migrations, run as the program they ship as, on a real server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from services.common.locks import Lock
from services.migrations import runner
from services.migrations.__main__ import main
from tests.unit.services.postgres_server import PASSWORD, PostgresServer, TodoDatabase

_LOCK = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"


def migrations(database: TodoDatabase, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The program, run by the owner of the database."""
    return subprocess.run(
        [sys.executable, "-m", "services.migrations", *arguments],
        env={**os.environ, "DATABASE_URL": database.url("todo_owner")},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def schemas(database: TodoDatabase) -> set[str]:
    """The schemas that there are."""
    with psycopg.connect(database.admin_url) as link:
        return {row[0] for row in link.execute("SELECT nspname FROM pg_namespace")}


def test_up_twice_and_down_again(empty_database: TodoDatabase) -> None:
    """Upgrade brings everything, a second one changes nothing, downgrade to base leaves nothing of ours."""
    first = json.loads(migrations(empty_database, "upgrade").stdout)
    assert first["current"] == first["head"]
    assert first["pending"] == []
    assert {"auth", "dapr"} <= schemas(empty_database)
    assert json.loads(migrations(empty_database, "upgrade").stdout) == first
    down = json.loads(migrations(empty_database, "downgrade", "base").stdout)
    assert down["current"] is None
    assert down["pending"][0] == "0001"
    assert not {"auth", "api", "audit", "dapr"} & schemas(empty_database)
    assert json.loads(migrations(empty_database, "upgrade").stdout) == first


def test_status_of_an_empty_database(empty_database: TodoDatabase) -> None:
    """Status only looks: everything is pending, and nothing is made."""
    found = json.loads(migrations(empty_database, "status").stdout)
    assert found["current"] is None
    assert found["pending"][0] == "0001"
    assert "auth" not in schemas(empty_database)


def test_status_while_another_runner_works(empty_database: TodoDatabase) -> None:
    """Status answers while somebody else holds the lock."""
    with psycopg.connect(empty_database.url("todo_owner")) as link:
        link.execute("SELECT pg_advisory_lock(%s)", (int(Lock.MIGRATIONS),))
        assert runner.status(empty_database.url("todo_owner")).current is None


def test_two_runners(empty_database: TodoDatabase) -> None:
    """Of runners that start together one works and the others wait, and all of them succeed."""
    command = [sys.executable, "-m", "services.migrations", "upgrade"]
    environ = {**os.environ, "DATABASE_URL": empty_database.url("todo_owner")}
    running = [subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    answers = [json.loads(process.communicate(timeout=60)[0]) for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert all(answer == answers[0] for answer in answers)


def test_killed_half_way(empty_database: TodoDatabase, postgres_server: PostgresServer) -> None:
    """SIGKILL in the middle of a revision leaves nothing of it, and the next run does it all."""
    owner = empty_database.url("todo_owner")
    with psycopg.connect(empty_database.admin_url) as blocker:
        # The revision's last table can't be made while this name is taken by an uncommitted one.
        blocker.execute("CREATE SCHEMA dapr")
        process = subprocess.Popen(
            [sys.executable, "-m", "services.migrations", "upgrade"], env={**os.environ, "DATABASE_URL": owner}
        )
        waiting = (
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'migrations' AND wait_event_type = 'Lock'"
        )
        with psycopg.connect(empty_database.admin_url, autocommit=True) as watcher:
            while not watcher.execute(waiting).fetchone()[0]:
                assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        blocker.rollback()
    assert "auth" not in schemas(empty_database)
    assert runner.upgrade(owner).pending == ()


def test_a_newer_database_is_left_alone(todo: TodoDatabase, capsys: pytest.CaptureFixture[str]) -> None:
    """A release that does not know the database's revision refuses with both names, and status still answers."""
    environ = {"DATABASE_URL": todo.url("todo_owner")}
    with psycopg.connect(todo.admin_url, autocommit=True) as link:
        link.execute("UPDATE alembic_version SET version_num = '9999'")
    assert main(["upgrade"], environ) == 1
    assert "9999" in capsys.readouterr().err
    assert main(["status"], environ) == 0
    assert json.loads(capsys.readouterr().out)["current"] == "9999"
    assert main(["upgrade", "0003", "--or-later"], environ) == 0
    assert json.loads(capsys.readouterr().out)["current"] == "9999"
    assert main(["upgrade", "--or-later"], environ) == 1


@pytest.mark.parametrize("arguments", [["downgrade"], ["sideways"], []])
def test_wrong_usage(arguments: list[str]) -> None:
    """What can't be understood is exit code 2."""
    with pytest.raises(SystemExit) as ended:
        main(arguments, {"DATABASE_URL": "postgresql://x@127.0.0.1:1/todo"})
    assert ended.value.code == 2


def test_a_revision_that_is_none(empty_database: TodoDatabase, capsys: pytest.CaptureFixture[str]) -> None:
    """It is wrong usage, whichever way; the answer says which there are, and nothing happens."""
    for command in ("upgrade", "downgrade"):
        with pytest.raises(SystemExit) as ended:
            main([command, "0099"], {"DATABASE_URL": empty_database.url("todo_owner")})
        assert ended.value.code == 2
        assert "there is no revision '0099'; there are base, 0001," in capsys.readouterr().err
    assert "auth" not in schemas(empty_database)


def test_no_address() -> None:
    """Without a database's address nothing is tried."""
    with pytest.raises(SystemExit) as ended:
        main(["status"], {})
    assert ended.value.code == 2


def test_no_database(capsys: pytest.CaptureFixture[str]) -> None:
    """A server that isn't there is exit code 1 and one reason on stderr."""
    assert main(["status"], {"DATABASE_URL": TodoDatabase(1, "todo").url("todo_owner")}) == 1
    assert "refused" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("role", "query"),
    [
        ("todo_operator", "SELECT password_hash FROM auth.users"),
        ("todo_operator", "SELECT private_key FROM auth.signing_keys"),
        ("todo_operator", "DELETE FROM auth.users"),
        ("api", "SELECT id FROM auth.users"),
        ("auth", "SELECT 1 FROM api.tasks"),
        ("auth", "DELETE FROM auth.users"),
        ("auth", "CREATE TABLE auth.x (y int)"),
        ("auth", "CREATE TABLE public.x (y int)"),
        ("dapr_state", "SELECT 1 FROM auth.users"),
    ],
)
def test_roles_see_only_their_own(todo: TodoDatabase, role: str, query: str) -> None:
    """A role reaches nothing that its service does not need."""
    with psycopg.connect(todo.url(role)) as link, pytest.raises(psycopg.errors.InsufficientPrivilege):
        link.execute(query)


def test_dapr_makes_its_own_tables(todo: TodoDatabase) -> None:
    """The state store's role makes tables in its schema without naming it."""
    with psycopg.connect(todo.url("dapr_state")) as link:
        link.execute("CREATE TABLE dapr_state_state (key text)")
        assert link.execute("SELECT to_regclass('dapr.dapr_state_state')").fetchone()[0] is not None


def test_a_server_that_knows_none_of_our_roles(postgres_bin: Path) -> None:
    """An owner that is no superuser, as in a managed database, makes every role, and in a second database finds them."""
    server = PostgresServer(postgres_bin)
    try:
        server.create_bare()
        first, second = TodoDatabase(server.port, "first"), TodoDatabase(server.port, "second")
        with psycopg.connect(TodoDatabase(server.port, "postgres").admin_url, autocommit=True) as link:
            link.execute(f"CREATE ROLE todo_owner LOGIN CREATEROLE PASSWORD '{PASSWORD}'")
            for database in (first, second):
                link.execute(f"CREATE DATABASE {database.name} OWNER todo_owner")
        for database in (first, second):
            assert runner.upgrade(database.url("todo_owner")).pending == ()
        assert runner.downgrade(first.url("todo_owner"), "base").current is None
        assert runner.upgrade(first.url("todo_owner")).pending == ()
    finally:
        server.remove()
