"""What the audit log is asked and what it answers."""

from __future__ import annotations

from base64 import b64encode
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationInfo, field_validator

from services.common.delivery import LARGEST_ID
from services.common.moments import Moment
from services.common.numbers import AS_WRITTEN

Identity = Annotated[int, Field(ge=1, lt=LARGEST_ID), AS_WRITTEN]
# PostgreSQL has no NUL in text.
Word = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]


class LogQuery(BaseModel):
    """Filters, all of which must hold, and the page; times are those of the events, `to` not included."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    user_id: Identity | None = None
    action_type: Word | None = None
    resource_type: Word | None = None
    resource_id: Identity | None = None
    correlation_id: Word | None = None
    event_id: UUID | None = None
    since: Moment | None = Field(None, alias="from")
    until: Moment | None = Field(None, alias="to")
    offset: Annotated[int, Field(ge=0, le=10_000_000), AS_WRITTEN] = 0
    limit: Annotated[int, Field(ge=1, le=500), AS_WRITTEN] = 50

    @field_validator("until")
    @classmethod
    def _span_is_not_empty(cls, until: datetime | None, info: ValidationInfo) -> datetime | None:
        since = info.data.get("since")
        if until is not None and since is not None and until <= since:
            raise ValueError("to must be later than from")
        return until


class LogItem(BaseModel):
    """One entry; `raw` is base64 and only there for a record that could not be read."""

    model_config = ConfigDict(from_attributes=True)

    log_id: int
    event_id: UUID
    action_type: str
    resource_type: str
    resource_id: int | None
    user_id: int | None
    user_seq: int | None
    version: int | None
    correlation_id: str | None
    timestamp: datetime
    recorded_at: datetime
    topic: str
    partition: int
    offset: int | None = Field(validation_alias="record_offset")
    details: dict[str, Any] | None
    raw: str | None

    @field_validator("raw", mode="before")
    @classmethod
    def _as_base64(cls, raw: bytes | None) -> str | None:
        return None if raw is None else b64encode(raw).decode()


class LogPage(BaseModel):
    """Some of the matching entries and how many there are."""

    items: list[LogItem]
    total: int
    offset: int
    limit: int
