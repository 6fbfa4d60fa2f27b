"""The audit log's table as this service reads it."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, BigInteger, DateTime, LargeBinary, Text, Uuid
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """The tables of schema audit."""


class AuditRow(Base):
    """One row of the log; `details` is the event's data, `raw` the bytes of a record that was none."""

    __tablename__ = "audit_logs"
    __table_args__ = {"schema": "audit"}  # noqa: RUF012 - SQLAlchemy's own form

    log_id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    topic: Mapped[str] = mapped_column(Text)
    partition: Mapped[int]
    record_offset: Mapped[int | None] = mapped_column(BigInteger)
    event_id: Mapped[UUID] = mapped_column(Uuid)
    action_type: Mapped[str] = mapped_column(Text)
    resource_type: Mapped[str] = mapped_column(Text)
    resource_id: Mapped[int | None] = mapped_column(BigInteger)
    user_id: Mapped[int | None] = mapped_column(BigInteger)
    user_seq: Mapped[int | None] = mapped_column(BigInteger)
    version: Mapped[int | None] = mapped_column(BigInteger)
    correlation_id: Mapped[str | None] = mapped_column(Text)
    timestamp: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    recorded_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    details: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    raw: Mapped[bytes | None] = mapped_column(LargeBinary)
