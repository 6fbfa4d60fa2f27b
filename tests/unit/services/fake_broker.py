"""A sidecar as event routes need it: it keeps what is published, and refuses what the real one would."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from services.common.failures import Refused
from todoctl.core.dead_letters import DeadLetter

# The producer's limit: key, value and headers together.
_LONGEST_RECORD = 2_097_152


@dataclass
class FakeBroker:
    """Keeps published envelopes; with `failure` set, refuses to publish."""

    published: list[tuple[str, dict[str, Any], str | None]] = field(default_factory=list)
    failure: Exception | None = None

    async def publish(self, topic: str, envelope: Mapping[str, Any], *, key: str | None) -> None:
        """Keep one envelope, as the bytes that the real sidecar would send."""
        if self.failure:
            raise self.failure
        content = json.dumps(envelope, separators=(",", ":"), allow_nan=False).encode()
        content.decode("ascii")
        if len(content) + len(key or "") > _LONGEST_RECORD:
            raise Refused("message was too large, server rejected it to avoid allocation error")
        self.published.append((topic, json.loads(content), key))

    @property
    def letters(self) -> list[DeadLetter]:
        """The dead letters published so far."""
        return [
            DeadLetter.model_validate(envelope["data"])
            for topic, envelope, _ in self.published
            if topic == "dlq-events"
        ]


@dataclass
class FakeClock:
    """A clock that stands still until it is moved."""

    now: datetime = field(default_factory=lambda: datetime(2030, 1, 31, 12, 0, tzinfo=UTC))

    def __call__(self) -> datetime:
        """The time."""
        return self.now

    def move(self, **span: float) -> None:
        """Let time pass."""
        self.now += timedelta(**span)


def original(letter: DeadLetter) -> bytes:
    """The bytes that a letter is about."""
    return b64decode(letter.value)
