"""What a pod waits for before its sidecar starts."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import psycopg
import pytest

from services.migrations import accounts
from services.waiting.__main__ import behind, closed, main, refused_by
from tests.unit.services.postgres_server import TodoDatabase


@pytest.fixture
def listener() -> Iterator[int]:
    """A port that takes connections."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def free() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def page() -> Iterator[str]:
    """A server that answers 200 on / and 503 elsewhere."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/" else 503)
            self.end_headers()
            self.wfile.write(b"not yet")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def revision(database: TodoDatabase) -> str:
    """The revision that the database is at."""
    with psycopg.connect(database.admin_url) as link:
        return str(link.execute("SELECT version_num FROM alembic_version").fetchone()[0])  # type: ignore[index]


def test_a_service_sees_the_schema_once_it_has_its_account(todo: TodoDatabase) -> None:
    """The migration's accounts let each role read the revision; the one asked for or a later one will do."""
    url, head = todo.url("api"), revision(todo)
    assert "permission denied" in behind(url, head)
    accounts.ensure(todo.url("todo_owner"), accounts.wanted({"ACCOUNT_api": url}))
    assert behind(url, head) == ""
    assert behind(url, "0001") == ""
    assert behind(url, "9999") == f"it is at {head}"


def test_a_database_without_a_schema_is_behind_but_there(empty_database: TodoDatabase) -> None:
    """The migration needs the first, a service the second."""
    url = empty_database.url("todo_owner")
    assert behind(url, "") == ""
    assert "alembic_version" in behind(url, "0001")


def test_a_database_that_is_away_is_said(free: int) -> None:
    """The words are PostgreSQL's own, without the password."""
    words = behind(f"postgresql://api:hidden@127.0.0.1:{free}/todo", "0001")
    assert "refused" in words
    assert "hidden" not in words


def test_one_broker_is_enough(listener: int, free: int) -> None:
    """Of several addresses one has to take a connection."""
    assert closed([f"127.0.0.1:{free}", f"127.0.0.1:{listener}"]) == ""
    assert str(free) in closed([f"127.0.0.1:{free}"])
    assert "no-port" in closed(["no-port"])


def test_an_address_answers_or_says_why_not(page: str, free: int) -> None:
    """Status and body of a refusal are what a person needs."""
    assert refused_by(f"{page}/") == ""
    assert refused_by(f"{page}/readyz") == "503 not yet"
    assert "refused" in refused_by(f"http://127.0.0.1:{free}/")


def test_it_ends_when_all_is_there(page: str, listener: int) -> None:
    """Exit code 0."""
    assert main([f"--url={page}/", f"--any-of=127.0.0.1:{listener}"], {}) == 0


def test_it_gives_up_when_the_time_is_over(free: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 1, and the last words say what was missing."""
    assert main([f"--any-of=127.0.0.1:{free}", "--seconds=0.1"], {}) == 1
    assert "gave up waiting for" in capsys.readouterr().out


def test_it_goes_on_once_what_it_waits_for_appears(free: int) -> None:
    """As a pod does that starts before its broker."""
    command = [sys.executable, "-m", "services.waiting", f"--any-of=127.0.0.1:{free}", "--seconds=60"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("waiting for")
        with socket.create_server(("127.0.0.1", free)):
            assert process.wait(60) == 0


def test_a_revision_needs_a_database() -> None:
    """Wrong usage, not an endless wait."""
    with pytest.raises(SystemExit) as ended:
        main(["--revision=0001"], {})
    assert ended.value.code == 2
