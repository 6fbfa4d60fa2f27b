"""Roles and schemas for revisions: each service has its own, and none sees another's."""

from __future__ import annotations

import re

from alembic import op

OPERATOR = "todo_operator"


def create_role(name: str) -> None:
    """Have the role `name`, without a login where it is new; the environment gives it one with a password.

    Roles belong to the whole server: one that is there stays as it is, and a downgrade leaves it.
    """
    _require_name(name)
    op.execute(
        f"""
        DO $$ BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{name}') THEN
                CREATE ROLE {name} NOLOGIN;
            END IF;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
        END $$"""
    )
    op.execute(f"DO $$ BEGIN EXECUTE format('GRANT CONNECT ON DATABASE %I TO {name}', current_database()); END $$")


def become_member(name: str) -> None:
    """Let the owner act as role `name`, which it needs for giving things to that role."""
    _require_name(name)
    # In a managed database the owner isn't a superuser, and the maker of a role is not its member.
    op.execute(
        f"""
        DO $$ BEGIN
            IF NOT pg_has_role(current_user, '{name}', 'USAGE') THEN
                EXECUTE format('GRANT {name} TO %I', current_user);
            END IF;
        END $$"""
    )


def create_schema(name: str, *, role: str) -> None:
    """Have the schema `name`; its service's role and the operator may look into it."""
    _require_name(name)
    _require_name(role)
    op.execute(f"CREATE SCHEMA {name}")
    op.execute(f"GRANT USAGE ON SCHEMA {name} TO {role}, {OPERATOR}")


def _require_name(name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,62}", name):
        raise ValueError(f"not a plain name: {name!r}")
