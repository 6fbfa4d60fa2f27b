"""Gives the roles that revisions made their log-in: the password that the service's own URL has."""

from __future__ import annotations

from collections.abc import Mapping

import psycopg
from psycopg import sql
from sqlalchemy.engine import make_url

PREFIX = "ACCOUNT_"


def wanted(environ: Mapping[str, str]) -> dict[str, str]:
    """Role → password, from the URLs in the variables ACCOUNT_<role>.

    Raises:
        ValueError: a URL logs in as another role than its name says, or has no password.
    """
    accounts = {}
    for name, url in environ.items():
        if not name.startswith(PREFIX):
            continue
        role, parsed = name.removeprefix(PREFIX), make_url(url)
        if parsed.username != role or not parsed.password:
            raise ValueError(f"{name} must be a URL with the user {role} and a password")
        accounts[role] = str(parsed.password)
    return accounts


def ensure(url: str, accounts: Mapping[str, str]) -> list[str]:
    """Let each role log in with its password and see which revision the schema has; gives their names.

    Raises:
        psycopg.Error: the owner at `url` may not, or a role is not there.
    """
    with psycopg.connect(url, connect_timeout=5, application_name="migrations") as link:
        for role, password in accounts.items():
            # Hashed here, so that no log of the server has it.
            verifier = link.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
            name = sql.Identifier(role)
            link.execute(sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(name, sql.Literal(verifier)))
            link.execute(sql.SQL("GRANT SELECT ON public.alembic_version TO {}").format(name))
    return sorted(accounts)
