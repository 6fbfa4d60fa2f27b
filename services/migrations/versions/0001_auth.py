"""Users and signing keys; the operator's role; the schema that Dapr's state store makes its tables in."""

from __future__ import annotations

from alembic import op

from services.migrations.grants import OPERATOR, become_member, create_role, create_schema

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute("DO $$ BEGIN EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database()); END $$")
    create_role(OPERATOR)
    op.execute(f"GRANT SELECT ON public.alembic_version TO {OPERATOR}")
    _auth()
    _dapr()


def _auth() -> None:
    create_role("auth")
    create_schema("auth", role="auth")
    op.execute(
        """
        CREATE TABLE auth.users (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            email text NOT NULL CONSTRAINT users_email_unique UNIQUE,
            password_hash text NOT NULL,
            zone text NOT NULL,
            role text NOT NULL DEFAULT 'user' CHECK (role IN ('user', 'operator')),
            created_at timestamptz NOT NULL,
            updated_at timestamptz NOT NULL,
            CHECK (email = lower(email) AND length(email) BETWEEN 3 AND 254)
        )"""
    )
    op.execute(
        """
        CREATE TABLE auth.signing_keys (
            kid text PRIMARY KEY,
            private_key bytea NOT NULL CHECK (octet_length(private_key) = 32),
            created_at timestamptz NOT NULL,
            signs_from timestamptz NOT NULL
        )"""
    )
    op.execute("GRANT SELECT, INSERT, UPDATE ON auth.users TO auth")
    op.execute("GRANT SELECT, INSERT, DELETE ON auth.signing_keys TO auth")
    # No password hash and no key: what an operator needs is who there is.
    op.execute(f"GRANT SELECT (id, email, zone, role, created_at, updated_at) ON auth.users TO {OPERATOR}")


def _dapr() -> None:
    create_role("dapr_state")
    become_member("dapr_state")
    op.execute("CREATE SCHEMA dapr AUTHORIZATION dapr_state")
    op.execute("ALTER ROLE dapr_state SET search_path = dapr")


def downgrade() -> None:
    become_member("dapr_state")
    op.execute("DROP SCHEMA dapr CASCADE")
    op.execute("DROP SCHEMA auth CASCADE")
