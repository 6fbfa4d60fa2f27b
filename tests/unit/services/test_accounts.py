"""Log-ins of the services' roles, for a database that nobody else prepares."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import psycopg
import pytest
from psycopg import sql

from services.migrations import accounts
from tests.unit.services.postgres_server import PASSWORD, TodoDatabase


def test_a_role_logs_in_with_the_password_of_its_url(todo: TodoDatabase) -> None:
    """The owner, who is no superuser, sets it; a second run changes nothing that anybody sees."""
    new = todo.url("audit").replace(PASSWORD, "an%40other")
    environ = {**os.environ, "DATABASE_URL": todo.url("todo_owner"), "ACCOUNT_audit": new}
    try:
        for _ in range(2):
            done = subprocess.run(
                [sys.executable, "-m", "services.migrations", "accounts"],
                env=environ,
                capture_output=True,
                text=True,
                check=True,
            )
            assert json.loads(done.stdout) == {"accounts": ["audit"]}
            with psycopg.connect(new) as link:
                assert link.execute("SELECT current_user").fetchone() == ("audit",)
    finally:
        # Roles belong to the server, which other tests use.
        with psycopg.connect(todo.admin_url) as link:
            link.execute(sql.SQL("ALTER ROLE audit PASSWORD {}").format(sql.Literal(PASSWORD)))


@pytest.mark.parametrize("url", ["postgresql://api@h/todo", "postgresql://other:x@h/todo", "postgresql://h/todo"])
def test_an_account_that_contradicts_its_name_is_refused(url: str) -> None:
    """A mixed-up Secret would give one service the rights of another."""
    with pytest.raises(ValueError, match="ACCOUNT_api"):
        accounts.wanted({"ACCOUNT_api": url})


def test_other_variables_are_no_accounts() -> None:
    """Only those that are named so."""
    assert accounts.wanted({"DATABASE_URL": "postgresql://a:b@h/t", "PATH": "/bin"}) == {}


def test_a_role_that_is_not_there_is_said(todo: TodoDatabase) -> None:
    """Exit code 1 and the server's words."""
    done = subprocess.run(
        [sys.executable, "-m", "services.migrations", "accounts"],
        env={**os.environ, "DATABASE_URL": todo.url("todo_owner"), "ACCOUNT_absent": "postgresql://absent:x@h/t"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert 'role "absent" does not exist' in done.stderr
