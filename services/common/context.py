"""Who and what the current request or event is about; logs and problems read it from here."""

from __future__ import annotations

from contextvars import ContextVar

correlation_id: ContextVar[str | None] = ContextVar("correlation_id", default=None)
user_id: ContextVar[int | None] = ContextVar("user_id", default=None)
