"""The tables of schema `api`, mapped; migrations 0002 and 0004 create them and docs/data-model.md describes them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    Computed,
    DateTime,
    ForeignKey,
    Identity,
    Integer,
    Interval,
    MetaData,
    SmallInteger,
    String,
    Text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    """The tables that api owns; instants are stored with their offset, wall times without."""

    metadata = MetaData(schema="api")
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        int: BigInteger,
        str: Text,
        datetime: DateTime(timezone=True),
        timedelta: Interval,
        list[str]: ARRAY(Text),
        dict[str, Any]: JSONB,
    }


class Series(Base):
    """What a recurring task repeats by; a row never changes, an edited rule begins a new series."""

    __tablename__ = "series"

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    user_id: Mapped[int]
    rule: Mapped[dict[str, Any]]
    zone: Mapped[str]
    anchor: Mapped[datetime] = mapped_column(DateTime(timezone=False))
    created_at: Mapped[datetime]
    state: Mapped[RecurringTaskState] = relationship(lazy="raise")


class RecurringTaskState(Base):
    """How far a series has come; one row per series."""

    __tablename__ = "recurring_task_state"

    series_id: Mapped[int] = mapped_column(ForeignKey("api.series.id"), primary_key=True)
    last_index: Mapped[int] = mapped_column(Integer)
    last_generated_at: Mapped[datetime | None]


class Task(Base):
    """A task; `due_local` and `occurrence` are its place in the series, which stays when the due date is moved."""

    __tablename__ = "tasks"

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    user_id: Mapped[int]
    title: Mapped[str] = mapped_column(String(200))
    description: Mapped[str]
    status: Mapped[str] = mapped_column(String(10))
    priority: Mapped[str] = mapped_column(String(10))
    priority_rank: Mapped[int] = mapped_column(SmallInteger, Computed("(generated)"), deferred=True)
    tags: Mapped[list[str]]
    tag_keys: Mapped[list[str]] = mapped_column(Computed("(generated)"), deferred=True)
    due_date: Mapped[datetime | None]
    zone: Mapped[str]
    reminder_offset: Mapped[timedelta | None]
    recurrence_rule: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    series_id: Mapped[int | None] = mapped_column(ForeignKey("api.series.id"))
    due_local: Mapped[datetime | None] = mapped_column(DateTime(timezone=False))
    occurrence: Mapped[int | None] = mapped_column(Integer)
    parent_task_id: Mapped[int | None] = mapped_column(ForeignKey("api.tasks.id"))
    version: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    completed_at: Mapped[datetime | None]
    series: Mapped[Series | None] = relationship(lazy="raise")
    reminder: Mapped[Reminder | None] = relationship(lazy="raise", back_populates="task")


class Reminder(Base):
    """When a task's owner is to be reminded; at most one row per task, moved with it."""

    __tablename__ = "reminders"

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    task_id: Mapped[int] = mapped_column(ForeignKey("api.tasks.id"))
    user_id: Mapped[int]
    trigger_at: Mapped[datetime]
    due_date: Mapped[datetime]
    state: Mapped[str] = mapped_column(String(10))
    task: Mapped[Task] = relationship(lazy="raise", back_populates="reminder")


class UserSeq(Base):
    """A user's last change number; its row lock makes one user's writes follow each other."""

    __tablename__ = "user_seqs"

    user_id: Mapped[int] = mapped_column(primary_key=True)
    last_seq: Mapped[int]
    floor_seq: Mapped[int]


class Change(Base):
    """What happened to which task, for clients that catch up."""

    __tablename__ = "changes"

    user_id: Mapped[int] = mapped_column(primary_key=True)
    user_seq: Mapped[int] = mapped_column(primary_key=True)
    task_id: Mapped[int]
    version: Mapped[int] = mapped_column(Integer)
    event_type: Mapped[str]
    changed: Mapped[list[str]]
    occurred_at: Mapped[datetime]


class Outbox(Base):
    """An event that is still to be published; the relay deletes it once the broker has it."""

    __tablename__ = "outbox"

    id: Mapped[int] = mapped_column(Identity(always=True), primary_key=True)
    user_id: Mapped[int]
    user_seq: Mapped[int]
    topic: Mapped[str]
    key: Mapped[str]
    event_id: Mapped[UUID]
    envelope: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


class IdempotencyKey(Base):
    """The answer to a request that a client may send again."""

    __tablename__ = "idempotency_keys"

    user_id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    request_hash: Mapped[bytes]
    status: Mapped[int] = mapped_column(SmallInteger)
    response: Mapped[str]
    version: Mapped[int] = mapped_column(Integer)
    created_at: Mapped[datetime]
