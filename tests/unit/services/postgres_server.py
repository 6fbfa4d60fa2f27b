"""A real PostgreSQL server for tests: started once, dropped to nobody when root, killed or frozen on demand."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil
import psycopg
from psycopg import sql

from services.migrations import runner
from todoctl.adapters import postgres
from todoctl.operations import tools
from todoctl.settings import load

PASSWORD = "only-for-tests"
ROLES = ("todo_owner", "todo_operator", "dapr_state", "auth", "api", "audit")
# Written but not flushed: a SIGKILL of the server loses nothing, only a power cut would.
_FAST = ("-c", "fsync=off", "-c", "full_page_writes=off", "-c", "autovacuum=off", "-c", "wal_level=minimal")
_FAST += ("-c", "max_wal_senders=0", "-c", "shared_buffers=32MB")
_PR_SET_PDEATHSIG = 1
_DEADLINE = 30.0


@dataclass(frozen=True)
class TodoDatabase:
    """One migrated database of its own."""

    port: int
    name: str

    def url(self, role: str) -> str:
        """The DATABASE_URL with which `role` connects."""
        return f"postgresql://{role}:{PASSWORD}@127.0.0.1:{self.port}/{self.name}"

    @property
    def admin_url(self) -> str:
        """The URL of the server's administrator, who may look at everything."""
        return self.url("postgres")


class PostgresServer:
    """One server; `kill`, `freeze` and `thaw` act on the postmaster and all its backends."""

    def __init__(self, bin_folder: Path) -> None:
        self._bin = bin_folder
        self._folder = Path(tempfile.mkdtemp(prefix="todo-pg-", dir="/tmp"))
        self._folder.chmod(0o755)
        self._process: subprocess.Popen[bytes] | None = None
        self._made = 0
        self.port = free_port()

    def create(self) -> None:
        """Make the cluster, its roles, and the migrated database that every other one is a copy of."""
        self.create_bare()
        admin = postgres.admin_url(PASSWORD, self.port)
        postgres.ensure_roles(admin, dict.fromkeys(ROLES, PASSWORD))
        runner.upgrade(TodoDatabase(self.port, "todo").url("todo_owner"))

    def create_bare(self) -> None:
        """Make the cluster and start it, with nothing of ours in it."""
        postgres.initialise(self._bin, self._folder / "data", PASSWORD)
        self.start()

    def start(self) -> None:
        """Start, or start again after `kill`; returns once it answers."""
        deadline = time.monotonic() + _DEADLINE
        while True:
            self._process = self._spawn()
            # Right after a SIGKILL the last backends may still hold the shared memory; then it ends at once.
            if self._answers(deadline):
                return
            if time.monotonic() > deadline:
                raise TimeoutError((self._folder / "log").read_text()[-2000:])

    def kill(self) -> None:
        """SIGKILL everything, as a crash would."""
        for process in self._family():
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self._running().wait(_DEADLINE)

    def freeze(self) -> None:
        """Stop every process where it is: connections stay open and nothing answers."""
        for process in self._family():
            with suppress(psutil.NoSuchProcess):
                process.suspend()

    def thaw(self) -> None:
        """Let frozen processes go on."""
        for process in self._family():
            with suppress(psutil.NoSuchProcess):
                process.resume()

    def heal(self) -> None:
        """Running and answering again, whatever a test did."""
        if self._running().poll() is None:
            self.thaw()
        else:
            self.start()

    def remove(self) -> None:
        """Stop it and delete its files."""
        process = self._process
        if process is not None and process.poll() is None:
            self.thaw()
            process.send_signal(signal.SIGINT)
            process.wait(_DEADLINE)
        shutil.rmtree(self._folder, ignore_errors=True)

    def new_database(self, *, migrated: bool = True) -> TodoDatabase:
        """A database of its own, owned by todo_owner; a copy of the migrated one, or empty."""
        self._made += 1
        made = TodoDatabase(self.port, f"todo_{self._made}")
        template = "todo" if migrated else "template1"
        query = sql.SQL("CREATE DATABASE {} OWNER todo_owner TEMPLATE {}")
        with postgres.connect(postgres.admin_url(PASSWORD, self.port)) as link:
            link.execute(query.format(sql.Identifier(made.name), sql.Identifier(template)))
        return made

    def drop(self, database: TodoDatabase) -> None:
        """Delete a database, whoever is still connected."""
        query = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database.name))
        with postgres.connect(postgres.admin_url(PASSWORD, self.port)) as link:
            link.execute(query)

    def _spawn(self) -> subprocess.Popen[bytes]:
        user = postgres.server_user()
        with (self._folder / "log").open("ab") as log:
            return subprocess.Popen(
                [self._bin / "postgres", "-D", self._folder / "data", "-p", str(self.port), *_FAST],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                user=user,
                group=user,
                extra_groups=None if user is None else [],
                cwd="/",
                env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
                # A run that is killed leaves no server behind.
                preexec_fn=partial(ctypes.CDLL(None).prctl, _PR_SET_PDEATHSIG, signal.SIGINT),  # noqa: PLW1509
            )

    def _answers(self, deadline: float) -> bool:
        url = postgres.admin_url(PASSWORD, self.port)
        while self._running().poll() is None and time.monotonic() < deadline:
            with suppress(psycopg.OperationalError), psycopg.connect(url, connect_timeout=2):
                return True
            with suppress(subprocess.TimeoutExpired):
                self._running().wait(0.05)
        return False

    def _family(self) -> Iterator[psutil.Process]:
        with suppress(psutil.NoSuchProcess):
            postmaster = psutil.Process(self._running().pid)
            yield postmaster
            yield from postmaster.children(recursive=True)

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "the server was not started"
        return self._process


def bin_folder() -> Path:
    """PostgreSQL's programs: TODOCTL_TEST_PG_BIN, else todoctl's own (fetched where it is missing)."""
    if given := os.environ.get("TODOCTL_TEST_PG_BIN"):
        return Path(given)
    cache = load(os.environ, cwd=Path.cwd()).cache
    if found := tools.find("postgresql", cache, environ=os.environ):
        return found.path
    if on_path := shutil.which("initdb"):
        return Path(on_path).parent
    last = list(tools.install("postgresql", cache, environ=os.environ))[-1]
    if last.result is None:
        raise RuntimeError(f"no PostgreSQL for the tests: {last.message}")
    return last.result.path


def free_port() -> int:
    """A TCP port that nobody listens on now."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
