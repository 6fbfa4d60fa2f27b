"""PostgreSQL: a server of our own on this machine, its roles, and the few queries that todoctl asks."""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, LiteralString

from todoctl.core.parts import OWNER_ROLE
from todoctl.core.ports import LOOPBACK
from todoctl.core.site import DATABASE_NAME
from todoctl.errors import MissingError, TodoctlError

ADMIN = "postgres"

# durability is the default's: an acknowledged write survives a kill -9 of the server.
_SETTINGS = """\
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 200
shared_buffers = 64MB
dynamic_shared_memory_type = posix
log_line_prefix = '%m [%p] '
log_timezone = 'UTC'
timezone = 'UTC'
password_encryption = 'scram-sha-256'
"""
_HBA = "host all all 127.0.0.1/32 scram-sha-256\n"


class PostgresError(TodoctlError):
    """The server refused or could not be reached."""


def server_user() -> int | None:
    """The uid that the server runs as: nobody's when we are root, because PostgreSQL refuses root; else our own."""
    return pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None


def initialise(bin_folder: Path, data: Path, password: str) -> None:
    """Make a new database cluster in `data`, whole or not at all; one that is there stays as it is.

    Raises:
        PostgresError: initdb failed.
        MissingError: the server's user can't reach the folder.
    """
    if (data / "PG_VERSION").exists():
        return
    if data.exists() and any(data.iterdir()):
        raise PostgresError(f"{data} holds something that is no database", hint="todoctl down --purge && todoctl up")
    draft = data.with_name(f"{data.name}.new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True, mode=0o700)
    user = server_user()
    if user is not None:
        os.chown(draft, user, user)
        check_reachable(draft)
        check_reachable(bin_folder)
    read_end, write_end = os.pipe()
    os.write(write_end, password.encode() + b"\n")
    os.close(write_end)
    if user is not None:
        os.fchown(read_end, user, user)
    # The password goes through a descriptor: argv and files would show it.
    command = [str(bin_folder / "initdb"), "-D", str(draft), "-U", ADMIN, "-E", "UTF8", "--locale=C.UTF-8"]
    command += ["--auth-host=scram-sha-256", "--auth-local=reject", f"--pwfile=/dev/fd/{read_end}", "--no-sync"]
    done = _run_as_server(command, pass_fds=(read_end,))
    os.close(read_end)
    if done.returncode:
        raise PostgresError("initdb failed", detail=tuple(done.stderr.splitlines()[-10:]), hint="todoctl doctor")
    (draft / "postgresql.auto.conf").write_text(_SETTINGS, encoding="utf-8")
    (draft / "pg_hba.conf").write_text(_HBA, encoding="utf-8")
    os.sync()
    draft.rename(data)
    _note_password(data, password)


def knows_password(data: Path, password: str) -> bool:
    """Whether the administrator of the cluster has this password, as far as was noted."""
    try:
        return _note(data).read_text(encoding="utf-8") == _digest(password)
    except OSError:
        return False


def reset_password(bin_folder: Path, data: Path, password: str) -> None:
    """Give the administrator of a stopped server a new password, after the old one was lost.

    Raises:
        PostgresError: the server could not be started for it.
    """
    command = [str(bin_folder / "postgres"), "--single", "-D", str(data), "postgres"]
    done = _run_as_server(command, text=f"ALTER ROLE {ADMIN} PASSWORD '{password}';\n")
    if done.returncode or "ERROR:" in done.stderr:
        lines = tuple(done.stderr.splitlines()[-10:])
        raise PostgresError(
            "the lost password could not be replaced", detail=lines, hint="todoctl down, then todoctl up"
        )
    _note_password(data, password)


def _run_as_server(
    command: list[str], *, text: str | None = None, pass_fds: tuple[int, ...] = ()
) -> subprocess.CompletedProcess[str]:
    """Run one of PostgreSQL's programs as the server's user, with little of our environment."""
    user = server_user()
    return subprocess.run(
        command,
        input=text,
        pass_fds=pass_fds,
        user=user,
        group=user,
        extra_groups=[] if user is not None else None,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
        cwd="/",
    )


def _note_password(data: Path, password: str) -> None:
    _note(data).write_text(_digest(password), encoding="utf-8")


def _note(data: Path) -> Path:
    return data.with_name(f"{data.name}.password-digest")


def _digest(password: str) -> str:
    # Of a long random password: nothing can be guessed back from it.
    return hashlib.sha256(password.encode()).hexdigest()


def check_reachable(path: Path) -> None:
    """Return when the server's user can enter the folder.

    Raises:
        MissingError: it can't.
    """
    user = server_user()
    if user is None:
        return
    # Asked of the kernel by trying it as that user: modes, lists and mounts all count.
    found = subprocess.run(
        ["/bin/sh", "-c", 'test -x "$0"', str(path)], user=user, group=user, extra_groups=[], check=False, cwd="/"
    )
    if found.returncode:
        raise MissingError(
            f"PostgreSQL must not run as root, and the user it runs as (nobody) can't reach {path}",
            hint="export TODOCTL_HOME=/var/lib/todoctl (and TODOCTL_CACHE) to a folder outside /root, or run as another user",
        )


def admin_url(password: str, port: int, database: str = "postgres") -> str:
    """The URL of the server's administrator."""
    return f"postgresql://{ADMIN}:{password}@{LOOPBACK}:{port}/{database}"


@contextmanager
def connect(url: str, *, seconds: int = 3) -> Iterator[Any]:
    """A connection in autocommit mode.

    Raises:
        PostgresError: no connection, or a statement failed.
    """
    import psycopg

    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=seconds, options="-c statement_timeout=10s") as link:
            yield link
    except psycopg.Error as error:
        message = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise PostgresError(f"PostgreSQL: {message}", hint="todoctl status") from error


@contextmanager
def snapshot(url: str, *, seconds: int = 3) -> Iterator[Any]:
    """A connection that reads everything as it was at one moment, for as long as that takes, and writes nothing.

    Raises:
        PostgresError: no connection, or a statement failed.
    """
    with connect(url, seconds=seconds) as link:
        link.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        link.execute("SET LOCAL statement_timeout = 0")
        yield link


def ensure_roles(url: str, passwords: Mapping[str, str]) -> None:
    """Make every role log in with its password, and the database exist with its owner.

    The owner may create roles, as the owner of a managed database may.
    """
    from psycopg import sql

    with connect(url) as link:
        known = {row[0] for row in link.execute("SELECT rolname FROM pg_roles")}
        for role, password in passwords.items():
            verb: LiteralString = "ALTER" if role in known else "CREATE"
            options: LiteralString = "LOGIN CREATEROLE" if role == OWNER_ROLE else "LOGIN"
            link.execute(
                sql.SQL(f"{verb} ROLE {{}} {options} PASSWORD {{}}").format(sql.Identifier(role), sql.Literal(password))
            )
        if not link.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE_NAME,)).fetchone():
            link.execute(
                sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(DATABASE_NAME), sql.Identifier(OWNER_ROLE))
            )
        for role in set(passwords) - {OWNER_ROLE}:
            # A role that CREATEROLE made is its maker's to grant; these were made by the administrator.
            link.execute(
                sql.SQL("GRANT {} TO {} WITH ADMIN OPTION").format(sql.Identifier(role), sql.Identifier(OWNER_ROLE))
            )


def version(url: str) -> str:
    """The server's version, which proves that it answers queries."""
    with connect(url) as link:
        return str(link.execute("SHOW server_version").fetchone()[0])


def revision(url: str) -> str | None:
    """The schema's revision, or None where no migration ever ran."""
    with connect(url) as link:
        if link.execute("SELECT to_regclass('public.alembic_version')").fetchone()[0] is None:
            return None
        row = link.execute("SELECT version_num FROM public.alembic_version").fetchone()
        return str(row[0]) if row else None


def outbox(url: str) -> tuple[int, float]:
    """How many entries wait in the outbox, and the age of the oldest in seconds."""
    with connect(url) as link:
        count, age = link.execute(
            "SELECT count(*), coalesce(extract(epoch FROM now() - min(created_at)), 0) FROM api.outbox"
        ).fetchone()
        return int(count), float(age)


def clock(url: str) -> float:
    """The server's clock as Unix time in seconds."""
    with connect(url) as link:
        return float(link.execute("SELECT extract(epoch FROM clock_timestamp())").fetchone()[0])
