"""The audit log: append-only for everybody, with the head of each hash chain beside it."""

from __future__ import annotations

from alembic import op

from services.migrations.grants import OPERATOR, create_role, create_schema

revision = "0003"
down_revision = "0002"

# `details` is json, not jsonb: the chain's hash covers the stored text, which jsonb would write anew.
AUDIT_LOGS = """
CREATE TABLE audit.audit_logs (
    log_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic text NOT NULL,
    partition integer NOT NULL,
    chain_seq bigint NOT NULL CHECK (chain_seq >= 1),
    record_offset bigint,
    record_key text,
    event_id uuid NOT NULL,
    action_type text NOT NULL,
    resource_type text NOT NULL,
    resource_id bigint,
    user_id bigint,
    user_seq bigint,
    version bigint,
    correlation_id text,
    "timestamp" timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    details json,
    raw bytea,
    previous_hash bytea NOT NULL CHECK (octet_length(previous_hash) = 32),
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    CONSTRAINT audit_logs_event_once UNIQUE (topic, event_id),
    CONSTRAINT audit_logs_chain_once UNIQUE (topic, partition, chain_seq)
)
"""

INDEXES = (
    "CREATE INDEX idx_audit_logs_user_id ON audit.audit_logs (user_id, user_seq, log_id)",
    'CREATE INDEX idx_audit_logs_action_type ON audit.audit_logs (action_type, "timestamp")',
    'CREATE INDEX idx_audit_logs_timestamp ON audit.audit_logs ("timestamp", log_id)',
    "CREATE INDEX idx_audit_logs_correlation_id ON audit.audit_logs (correlation_id)",
    "CREATE INDEX idx_audit_logs_resource ON audit.audit_logs (resource_type, resource_id)",
    "CREATE INDEX idx_audit_logs_event_id ON audit.audit_logs (event_id)",
)

CHAIN_HEADS = """
CREATE TABLE audit.chain_heads (
    topic text NOT NULL,
    partition integer NOT NULL,
    chain_seq bigint NOT NULL CHECK (chain_seq >= 0),
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    PRIMARY KEY (topic, partition)
) WITH (fillfactor = 50)
"""

# The owner has every right by nature, so a trigger says no to it too.
APPEND_ONLY = """
CREATE FUNCTION audit.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%.% is append-only', TG_TABLE_SCHEMA, TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$
"""

ONLY_FORWARD = """
CREATE FUNCTION audit.refuse_rewind() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.chain_seq <= OLD.chain_seq OR (NEW.topic, NEW.partition) <> (OLD.topic, OLD.partition) THEN
        RAISE EXCEPTION 'a chain''s head only moves forward' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END $$
"""

TRIGGERS = """
CREATE TRIGGER audit_logs_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.audit_logs
    FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();
CREATE TRIGGER chain_heads_stay BEFORE DELETE OR TRUNCATE ON audit.chain_heads
    FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();
CREATE TRIGGER chain_heads_only_forward BEFORE UPDATE ON audit.chain_heads
    FOR EACH ROW EXECUTE FUNCTION audit.refuse_rewind();
"""

GRANTS = (
    "GRANT SELECT, INSERT ON audit.audit_logs TO audit",
    "GRANT SELECT, INSERT, UPDATE (chain_seq, hash) ON audit.chain_heads TO audit",
    f"GRANT SELECT ON audit.audit_logs, audit.chain_heads TO {OPERATOR}",
)


def upgrade() -> None:
    create_role("audit")
    create_schema("audit", role="audit")
    for statement in (AUDIT_LOGS, *INDEXES, CHAIN_HEADS, APPEND_ONLY, ONLY_FORWARD, TRIGGERS, *GRANTS):
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP SCHEMA audit CASCADE")
