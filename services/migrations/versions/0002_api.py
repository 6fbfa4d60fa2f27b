"""Schema `api`: tasks, series, reminders, changes, outbox, idempotency keys, and who may do what with them."""

from __future__ import annotations

from alembic import op

from services.migrations.grants import OPERATOR, create_role, create_schema

revision = "0002"
down_revision = "0001"

SERIES = """
CREATE TABLE api.series (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id bigint NOT NULL,
    rule jsonb NOT NULL,
    zone text NOT NULL,
    anchor timestamp NOT NULL,
    created_at timestamptz NOT NULL
)
"""

RECURRING_TASK_STATE = """
CREATE TABLE api.recurring_task_state (
    series_id bigint PRIMARY KEY REFERENCES api.series,
    last_index integer NOT NULL CHECK (last_index >= 1),
    last_generated_at timestamptz
)
"""

TASKS = """
CREATE TABLE api.tasks (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id bigint NOT NULL,
    title varchar(200) NOT NULL CHECK (title <> ''),
    description text NOT NULL DEFAULT '' CHECK (length(description) <= 10000),
    status varchar(10) NOT NULL DEFAULT 'open' CHECK (status IN ('open', 'completed', 'deleted')),
    priority varchar(10) NOT NULL DEFAULT 'medium' CHECK (priority IN ('low', 'medium', 'high', 'urgent')),
    priority_rank smallint NOT NULL GENERATED ALWAYS AS (
        CASE priority WHEN 'low' THEN 1 WHEN 'medium' THEN 2 WHEN 'high' THEN 3 ELSE 4 END
    ) STORED,
    tags text[] NOT NULL DEFAULT '{}' CHECK (cardinality(tags) <= 20),
    due_date timestamptz,
    zone text NOT NULL DEFAULT 'UTC',
    reminder_offset interval,
    recurrence_rule jsonb,
    series_id bigint REFERENCES api.series,
    due_local timestamp,
    occurrence integer CHECK (occurrence >= 1),
    parent_task_id bigint CONSTRAINT tasks_predecessor_once UNIQUE REFERENCES api.tasks,
    version integer NOT NULL DEFAULT 1 CHECK (version >= 1),
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    completed_at timestamptz,
    CONSTRAINT tasks_series_is_whole CHECK (
        num_nonnulls(series_id, recurrence_rule, due_local, occurrence) IN (0, 4)
        AND (series_id IS NULL OR due_date IS NOT NULL)
    ),
    CONSTRAINT tasks_reminder_has_due_date CHECK (reminder_offset IS NULL OR due_date IS NOT NULL),
    CONSTRAINT tasks_completed_at CHECK ((status = 'completed' AND completed_at IS NOT NULL) OR status <> 'completed')
)
"""

# A tag's key starts with its owner, so a search for a tag reads no other user's entries.
TAG_KEYS = """
CREATE FUNCTION api.tag_keys(user_id bigint, tags text[]) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ARRAY(SELECT user_id::text || ':' || tag FROM unnest(tags) AS tag)
"""

TASK_INDEXES = (
    "CREATE INDEX idx_tasks_created ON api.tasks (user_id, id) WHERE status <> 'deleted'",
    "CREATE INDEX idx_tasks_priority ON api.tasks (user_id, priority_rank, id) WHERE status <> 'deleted'",
    "CREATE INDEX idx_tasks_due_date ON api.tasks (user_id, due_date, id) WHERE status <> 'deleted'",
    "CREATE INDEX idx_tasks_tags ON api.tasks USING gin (api.tag_keys(user_id, tags)) WHERE status <> 'deleted'",
    "CREATE INDEX idx_tasks_series ON api.tasks (series_id) WHERE series_id IS NOT NULL",
)

REMINDERS = """
CREATE TABLE api.reminders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    task_id bigint NOT NULL UNIQUE REFERENCES api.tasks,
    user_id bigint NOT NULL,
    trigger_at timestamptz NOT NULL,
    due_date timestamptz NOT NULL,
    state varchar(10) NOT NULL CHECK (state IN ('scheduled', 'fired', 'cancelled', 'skipped'))
)
"""

REMINDER_INDEX = "CREATE INDEX idx_reminders_due ON api.reminders (trigger_at) WHERE state = 'scheduled'"

USER_SEQS = """
CREATE TABLE api.user_seqs (
    user_id bigint PRIMARY KEY,
    last_seq bigint NOT NULL CHECK (last_seq >= 0),
    floor_seq bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50)
"""

CHANGES = """
CREATE TABLE api.changes (
    user_id bigint NOT NULL,
    user_seq bigint NOT NULL,
    task_id bigint NOT NULL REFERENCES api.tasks,
    version integer NOT NULL,
    event_type text NOT NULL,
    changed text[] NOT NULL,
    occurred_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, user_seq)
)
"""

# Every row is deleted soon: the vacuum must come by count, not by share of the table.
OUTBOX = """
CREATE TABLE api.outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id bigint NOT NULL,
    user_seq bigint NOT NULL,
    topic text NOT NULL,
    key text NOT NULL,
    event_id uuid NOT NULL,
    envelope jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000)
"""

NOTIFY = """
CREATE FUNCTION api.notify_outbox() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('outbox', '');
    RETURN NULL;
END $$
"""

NOTIFY_TRIGGER = """
CREATE TRIGGER outbox_wakes_relay AFTER INSERT ON api.outbox
FOR EACH STATEMENT EXECUTE FUNCTION api.notify_outbox()
"""

IDEMPOTENCY_KEYS = """
CREATE TABLE api.idempotency_keys (
    user_id bigint NOT NULL,
    key text NOT NULL CHECK (length(key) BETWEEN 1 AND 128),
    request_hash bytea NOT NULL,
    status smallint NOT NULL,
    response text NOT NULL,
    version integer NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (user_id, key)
)
"""

UPKEEP_INDEXES = (
    "CREATE INDEX idx_changes_occurred ON api.changes (occurred_at)",
    "CREATE INDEX idx_idempotency_keys_created ON api.idempotency_keys (created_at)",
)

# No DELETE on tasks: deletion is a status, so that a predecessor keeps its one successor.
SERVICE_KEEPS = (
    "GRANT SELECT, INSERT, UPDATE ON api.tasks, api.recurring_task_state, api.reminders, api.user_seqs TO api"
)
SERVICE_MAKES = "GRANT SELECT, INSERT ON api.series TO api"
SERVICE_CLEARS = "GRANT SELECT, INSERT, DELETE ON api.changes, api.outbox, api.idempotency_keys TO api"
# Kept answers are for their clients alone.
OPERATOR_READS = f"""
GRANT SELECT ON api.tasks, api.series, api.recurring_task_state, api.reminders, api.user_seqs, api.changes, api.outbox
TO {OPERATOR}
"""
GRANTS = (SERVICE_KEEPS, SERVICE_MAKES, SERVICE_CLEARS, OPERATOR_READS)


def upgrade() -> None:
    create_role("api")
    create_schema("api", role="api")
    tables = (SERIES, RECURRING_TASK_STATE, TASKS, REMINDERS, USER_SEQS, CHANGES, OUTBOX, IDEMPOTENCY_KEYS)
    indexes = (*TASK_INDEXES, REMINDER_INDEX, *UPKEEP_INDEXES)
    for statement in (*tables, TAG_KEYS, *indexes, NOTIFY, NOTIFY_TRIGGER, *GRANTS):
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP SCHEMA api CASCADE")
