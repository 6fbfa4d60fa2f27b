"""PostgreSQL of our own: made whole or not at all, reached by password only, its roles, and what todoctl asks it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.unit.services.postgres_server import PASSWORD, PostgresServer, bin_folder
from todoctl.adapters import postgres
from todoctl.core.parts import OWNER_ROLE
from todoctl.errors import MissingError, TodoctlError

ROLES = {OWNER_ROLE: "owner-1", "api": "api-1"}

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="another user than root needs no other user")


@pytest.fixture(scope="module")
def programs() -> Path:
    """PostgreSQL's programs, installed where they are missing."""
    return bin_folder()


@pytest.fixture(scope="module")
def server(programs: Path) -> Iterator[PostgresServer]:
    """A running server that nobody has used yet."""
    made = PostgresServer(programs)
    try:
        postgres.initialise(programs, made._folder / "data", PASSWORD)
        made.start()
        yield made
    finally:
        made.remove()


@pytest.fixture
def admin(server: PostgresServer) -> str:
    """The administrator's URL."""
    return postgres.admin_url(PASSWORD, server.port)


def user_url(server: PostgresServer, role: str, password: str, database: str = "todo") -> str:
    """The URL with which a role logs in."""
    return f"postgresql://{role}:{password}@127.0.0.1:{server.port}/{database}"


def test_a_cluster_that_is_there_stays(server: PostgresServer, programs: Path) -> None:
    """Initialising again changes nothing, whatever the password."""
    before = (server._folder / "data" / "PG_VERSION").stat().st_ino
    postgres.initialise(programs, server._folder / "data", "another")
    assert (server._folder / "data" / "PG_VERSION").stat().st_ino == before


def test_a_failed_initialisation_leaves_no_cluster(tmp_path: Path) -> None:
    """What initdb said is the detail, `data` is not there, and what an earlier attempt left is gone."""
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "initdb").write_text("#!/bin/sh\necho no space >&2\nexit 1\n")
    (programs / "initdb").chmod(0o755)
    stale = tmp_path / "postgres.new" / "stale"
    stale.parent.mkdir()
    stale.touch()
    with pytest.raises(TodoctlError, match="initdb failed") as caught:
        postgres.initialise(programs, tmp_path / "postgres", "secret")
    assert caught.value.detail == ("no space",)
    assert not (tmp_path / "postgres").exists()
    assert not stale.exists()


def test_the_password_is_not_in_the_command_line(tmp_path: Path) -> None:
    """The administrator's password reaches initdb through a descriptor."""
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    programs = tmp_path / "bin"
    programs.mkdir()
    script = (
        '#!/bin/sh\necho "$*" >&2\nfor word; do case $word in --pwfile=*) cat "${word#*=}" >&2;; esac; done\nexit 1\n'
    )
    (programs / "initdb").write_text(script)
    (programs / "initdb").chmod(0o755)
    with pytest.raises(TodoctlError) as caught:
        postgres.initialise(programs, tmp_path / "postgres", "hunter2")
    arguments, password = caught.value.detail
    assert password == "hunter2"
    assert "hunter2" not in arguments


@as_root
def test_a_folder_that_the_servers_user_cannot_reach_is_said(tmp_path: Path) -> None:
    """As root, a folder that nobody can't enter ends in exit code 9 with the way out."""
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    with pytest.raises(MissingError, match="the user it runs as \\(nobody\\) can't reach") as caught:
        postgres.check_reachable(private / "data")
    assert "TODOCTL_HOME" in caught.value.hint


def test_only_passwords_open_the_server(server: PostgresServer, admin: str) -> None:
    """A wrong password, no password and an unknown role are refused; the right one is let in over TCP only."""
    assert postgres.version(admin)
    for url in (
        postgres.admin_url("wrong", server.port),
        f"postgresql://postgres@127.0.0.1:{server.port}/postgres",
        user_url(server, "stranger", "x", "postgres"),
    ):
        with pytest.raises(TodoctlError, match="PostgreSQL: "):
            postgres.version(url)
    with postgres.connect(admin) as link:
        assert link.execute("SHOW unix_socket_directories").fetchone() == ("",)
        assert link.execute("SHOW listen_addresses").fetchone() == ("127.0.0.1",)


def test_an_acknowledged_write_is_durable(admin: str) -> None:
    """The settings that todoctl writes leave durability as it is."""
    with postgres.connect(admin) as link:
        said = {name for (name,) in link.execute("SELECT name FROM pg_file_settings")}
        assert not said & {"fsync", "synchronous_commit", "full_page_writes"}


def test_roles_are_made_changed_and_left_alone(server: PostgresServer, admin: str) -> None:
    """Roles log in with the passwords given last; doing it again changes nothing; the owner owns the database."""
    postgres.ensure_roles(admin, ROLES)
    postgres.ensure_roles(admin, ROLES)
    assert postgres.version(user_url(server, "api", "api-1"))
    postgres.ensure_roles(admin, ROLES | {"api": "api-2'; DROP ROLE api; --"})
    with pytest.raises(TodoctlError, match="password authentication failed"):
        postgres.version(user_url(server, "api", "api-1"))
    with postgres.connect(admin) as link:
        row = link.execute(
            "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = 'todo'",
        ).fetchone()
        assert row == (OWNER_ROLE,)
        rights = link.execute(
            "SELECT rolsuper, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = 'api'"
        ).fetchone()
        assert rights == (False, False, False)


def test_the_owner_may_grant_the_services_roles(server: PostgresServer, admin: str) -> None:
    """Migrations run as the owner, who gives roles to others as the owner of a managed database does."""
    postgres.ensure_roles(admin, ROLES)
    with postgres.connect(user_url(server, OWNER_ROLE, "owner-1")) as link:
        link.execute("CREATE ROLE helper")
        link.execute("GRANT api TO helper")


def test_a_database_without_migrations(server: PostgresServer, admin: str) -> None:
    """Where no migration ran the revision is None, and what needs the schema is an error of ours."""
    postgres.ensure_roles(admin, ROLES)
    url = user_url(server, OWNER_ROLE, "owner-1")
    assert postgres.revision(url) is None
    with pytest.raises(TodoctlError, match=r'relation "api\.outbox" does not exist'):
        postgres.outbox(url)


def test_the_revision_and_the_outbox(server: PostgresServer, admin: str) -> None:
    """The revision is the one that is recorded; the outbox tells how many wait and for how long the oldest does."""
    postgres.ensure_roles(admin, ROLES)
    url = user_url(server, OWNER_ROLE, "owner-1")
    with postgres.connect(url) as link:
        link.execute("CREATE TABLE alembic_version (version_num text)")
        link.execute("CREATE SCHEMA api")
        link.execute("CREATE TABLE api.outbox (created_at timestamptz)")
    assert postgres.revision(url) is None
    assert postgres.outbox(url) == (0, 0.0)
    with postgres.connect(url) as link:
        link.execute("INSERT INTO alembic_version VALUES ('0007')")
        link.execute("INSERT INTO api.outbox VALUES (now() - interval '1 minute'), (now())")
    assert postgres.revision(url) == "0007"
    count, age = postgres.outbox(url)
    assert (count, 60 <= age < 90) == (2, True)


def test_the_servers_clock(admin: str) -> None:
    """The clock is Unix time."""
    assert abs(postgres.clock(admin) - time.time()) < 5


def test_a_server_that_is_away_is_an_error_of_ours(server: PostgresServer) -> None:
    """A refused connection is one line with the next step, never psycopg's own error."""
    with pytest.raises(TodoctlError) as caught:
        postgres.version(postgres.admin_url(PASSWORD, 1))
    assert "\n" not in caught.value.message
    assert PASSWORD not in caught.value.message
    assert caught.value.hint == "todoctl status"
    assert isinstance(caught.value.__cause__, psycopg.Error)


def test_a_statement_that_fails_is_an_error_of_ours(admin: str) -> None:
    """The first line of what the server says is the message."""
    with pytest.raises(TodoctlError, match="PostgreSQL: syntax error"), postgres.connect(admin) as link:
        link.execute("SELEC 1")


def test_a_lost_password_is_replaced(programs: Path) -> None:
    """A stopped server takes a new administrator's password, and the note says which one it knows."""
    made = PostgresServer(programs)
    data = made._folder / "data"
    try:
        postgres.initialise(programs, data, "the lost one")
        assert postgres.knows_password(data, "the lost one")
        assert not postgres.knows_password(data, PASSWORD)
        postgres.reset_password(programs, data, PASSWORD)
        assert postgres.knows_password(data, PASSWORD)
        made.start()
        assert postgres.version(postgres.admin_url(PASSWORD, made.port))
    finally:
        made.remove()


def test_something_else_in_the_data_folder_is_left_alone(tmp_path: Path, programs: Path) -> None:
    """A data folder that holds no database is refused, and nothing in it is touched."""
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "mine").write_text("x")
    with pytest.raises(TodoctlError, match="no database"):
        postgres.initialise(programs, tmp_path / "postgres", "secret")
    assert (tmp_path / "postgres" / "mine").read_text() == "x"
