"""Reads of tasks that keep to one user's rows, however many rows that user has.

The release before this one runs on it: it knows neither the column nor the names of the indexes. The new column rewrites
the table, and readers and writers of tasks wait meanwhile.
"""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"

# Stored, because computing it for each row that a filter looks at costs more than reading the row.
TAG_KEYS = """
ALTER TABLE api.tasks ADD COLUMN tag_keys text[] NOT NULL GENERATED ALWAYS AS (api.tag_keys(user_id, tags)) STORED
"""
# Without fastupdate: the list of what is still to be sorted in has everybody's keys, and each search reads all of it.
TAG_INDEX = """
CREATE INDEX idx_tasks_tag_keys ON api.tasks USING gin (tag_keys) WITH (fastupdate = off) WHERE status <> 'deleted'
"""
# An order by id alone can be had from the primary key too, through everybody's rows; for a user with a good share of
# the table the planner prefers that.
CREATION_INDEX = "CREATE INDEX idx_tasks_creation ON api.tasks (user_id, created_at, id) WHERE status <> 'deleted'"
OLD_INDEXES = (
    "CREATE INDEX idx_tasks_created ON api.tasks (user_id, id) WHERE status <> 'deleted'",
    "CREATE INDEX idx_tasks_tags ON api.tasks USING gin (api.tag_keys(user_id, tags)) WHERE status <> 'deleted'",
)


def upgrade() -> None:
    for statement in ("DROP INDEX api.idx_tasks_created, api.idx_tasks_tags", TAG_KEYS, TAG_INDEX, CREATION_INDEX):
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP INDEX api.idx_tasks_creation")
    op.execute("ALTER TABLE api.tasks DROP COLUMN tag_keys")
    for statement in OLD_INDEXES:
        op.execute(statement)
