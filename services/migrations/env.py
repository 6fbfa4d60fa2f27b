"""Runs revisions on the connection that the runner opened; each one commits with its own version row."""

from __future__ import annotations

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    version_table_schema="public",
    transactional_ddl=True,
    # Killed half-way, the revisions before this one stay, and this one leaves nothing.
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
