"""Brings a database to a revision: one runner at a time, each revision whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import NullPool

from services.common.database import engine_url
from services.common.locks import Lock
from services.migrations.description import alembic_config

_OPTIONS = {
    "connect_timeout": 5,
    "application_name": "migrations",
    # DDL that waits for a lock makes every later query wait behind it; better to fail and be run again.
    "options": "-c lock_timeout=10000 -c timezone=UTC",
}


class MigrationRefusedError(Exception):
    """The database is at a revision that this release doesn't know."""


class UnknownRevisionError(ValueError):
    """No migration of this release has that revision."""


@dataclass(frozen=True)
class Status:
    """Where the database is, where this release wants it, and what lies between, oldest first."""

    current: str | None
    head: str | None
    pending: tuple[str, ...]


def upgrade(url: str, revision: str = "head", *, or_later: bool = False) -> Status:
    """Bring the database up to `revision`; nothing happens when it is there already.

    With `or_later` a database that a newer release brought further is left as it is, too: a release that comes back may live
    on it, and whoever brings it back has judged that. Revisions are numbered, so later ones compare so.
    """
    with _alone(url) as config:
        found = _status(config)
        if or_later and found.current is not None and found.current not in _known(config) and found.current > revision:
            return found
        _require_known(config)
        _require_one_of_ours(config, revision)
        command.upgrade(config, revision)
        return _status(config)


def downgrade(url: str, revision: str) -> Status:
    """Take the database back to `revision`; `base` is before the first one."""
    with _alone(url) as config:
        _require_known(config)
        _require_one_of_ours(config, revision)
        command.downgrade(config, revision)
        return _status(config)


def status(url: str) -> Status:
    """The state of the database, without waiting for a running migration."""
    with _connected(url) as config:
        return _status(config)


@contextmanager
def _connected(url: str) -> Iterator[Config]:
    engine = create_engine(engine_url(url), poolclass=NullPool, connect_args=_OPTIONS)
    with engine.connect() as connection:
        config = alembic_config()
        config.attributes["connection"] = connection
        yield config


@contextmanager
def _alone(url: str) -> Iterator[Config]:
    """The connection, holding the lock of the one runner; a second runner waits, then finds nothing to do."""
    with _connected(url) as config:
        connection: Connection = config.attributes["connection"]
        connection.execute(text("SET lock_timeout = 0"))
        # Of the session, not of a transaction: it spans all revisions and goes when the process does.
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": Lock.MIGRATIONS})
        connection.execute(text("RESET lock_timeout"))
        connection.commit()
        yield config


def _status(config: Config) -> Status:
    scripts = ScriptDirectory.from_config(config)
    context = MigrationContext.configure(config.attributes["connection"], opts={"version_table_schema": "public"})
    current, head = context.get_current_revision(), scripts.get_current_head()
    config.attributes["connection"].rollback()
    known = [script.revision for script in reversed(list(scripts.walk_revisions()))]
    if current is None:
        return Status(None, head, tuple(known))
    later = known[known.index(current) + 1 :] if current in known else []
    return Status(current, head, tuple(later))


def _known(config: Config) -> list[str]:
    return sorted(script.revision for script in ScriptDirectory.from_config(config).walk_revisions())


def _require_one_of_ours(config: Config, revision: str) -> None:
    allowed = ("base", *_known(config), "head")
    if revision not in allowed:
        raise UnknownRevisionError(f"there is no revision {revision!r}; there are {', '.join(allowed)}")


def _require_known(config: Config) -> None:
    found = _status(config)
    if found.current is not None and found.current not in _known(config):
        raise MigrationRefusedError(
            f"the database is at revision {found.current}; this release knows up to {found.head} and leaves it alone"
        )
