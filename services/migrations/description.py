"""What the revisions are and the SQL that each would run, told without a database."""

from __future__ import annotations

from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from alembic.config import Config
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import Script, ScriptDirectory


@dataclass(frozen=True)
class Revision:
    """One revision; `sql` is None where it can only be known with a database."""

    revision: str
    down_revision: str | None
    title: str
    phase: str
    lives_with: str | None
    sql: str | None


def alembic_config() -> Config:
    """Alembic's configuration for our folder of revisions."""
    made = Config()
    made.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return made


def revisions() -> list[Revision]:
    """Every revision, oldest first."""
    scripts = ScriptDirectory.from_config(alembic_config())
    return [_described(script) for script in reversed(list(scripts.walk_revisions()))]


def _described(script: Script) -> Revision:
    down = script.down_revision
    return Revision(
        revision=script.revision,
        down_revision=down if isinstance(down, str) else None,
        title=script.doc,
        phase=getattr(script.module, "phase", "expand"),
        lives_with=getattr(script.module, "lives_with", None),
        sql=_sql(script),
    )


def _sql(script: Script) -> str | None:
    written = StringIO()
    context = MigrationContext.configure(
        dialect_name="postgresql", opts={"as_sql": True, "output_buffer": written, "literal_binds": True}
    )
    try:
        with Operations.context(context):
            script.module.upgrade()
    except Exception:  # noqa: BLE001 - a revision that reads the database can fail here in any way
        return None
    return written.getvalue()
