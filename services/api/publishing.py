"""Publishing a batch of outbox entries: what the broker has, what became a dead letter, what must be tried again."""

from __future__ import annotations

import json
import logging
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Any, Protocol

from services.api.metrics import ApiMetrics
from services.api.outbox import Entry
from services.common.failures import Refused, ServiceFailure, Unavailable
from services.common.sidecar import BulkEntry
from todoctl.core.dead_letters import DeadLetter, Origin, to_cloud_event
from todoctl.core.events import DEAD_LETTERS

_log = logging.getLogger("services.api.relay")


class Broker(Protocol):
    """What publishing needs of the sidecar."""

    async def publish(self, topic: str, envelope: Mapping[str, Any], *, key: str | None) -> None:
        """Publish one envelope."""

    async def publish_bulk(self, topic: str, entries: Sequence[BulkEntry]) -> dict[str, str]:
        """Publish many envelopes; the error of each one that failed, by its id."""


@dataclass(frozen=True, slots=True)
class Published:
    """What came of a batch: `settled` entries may be removed, `stuck` ones must stay."""

    settled: tuple[Entry, ...]
    stuck: tuple[Entry, ...]


class Publisher:
    """Publishes through the sidecar, and gives what it refuses for good to the dead letters."""

    def __init__(
        self, broker: Broker, *, metrics: ApiMetrics, clock: Callable[[], datetime], random: Random | None = None
    ) -> None:
        self._broker, self._metrics, self._clock = broker, metrics, clock
        self._random = random or Random()  # noqa: S311 - it spreads attempts, it guards nothing

    async def publish(self, topic: str, entries: Sequence[Entry]) -> Published:
        """Publish the batch in one call, then one by one what failed in it."""
        failed = await self._bulk(topic, entries)
        again = {entry.id for entry in failed}
        settled = [entry for entry in entries if entry.id not in again]
        self._metrics.published.labels(topic).inc(len(settled))
        # In any order, so that no entry hides behind one whose partition is away.
        self._random.shuffle(failed)
        for tried, entry in enumerate(failed):
            if not await self._single(entry):
                self._metrics.failed.labels(topic).inc(len(failed) - tried)
                return Published(tuple(settled), tuple(failed[tried:]))
            settled.append(entry)
        return Published(tuple(settled), ())

    async def _bulk(self, topic: str, entries: Sequence[Entry]) -> list[Entry]:
        bulk = [BulkEntry(str(entry.id), entry.envelope, entry.key) for entry in entries]
        try:
            errors = await self._broker.publish_bulk(topic, bulk)
        except ServiceFailure as error:
            _log.warning("publishing failed: %s", error, extra={"topic": topic, "entries": len(entries)})
            return list(entries)
        if errors:
            _log.warning("part of a batch failed: %s", next(iter(errors.values()))[:300], extra={"topic": topic})
        return [entry for entry in entries if str(entry.id) in errors]

    async def _single(self, entry: Entry) -> bool:
        """Whether the entry is done with: published, or refused and kept as a dead letter."""
        try:
            await self._broker.publish(entry.topic, entry.envelope, key=entry.key)
        except Unavailable:
            return False
        except Refused as error:
            return await self._bury(entry, error)
        self._metrics.published.labels(entry.topic).inc()
        return True

    async def _bury(self, entry: Entry, error: Refused) -> bool:
        # A letter carries the whole event, so what was too large once is too large again; then it goes without.
        for letter in (_letter(entry, error, self._clock()), _letter(entry, error, self._clock(), whole=False)):
            try:
                await self._broker.publish(DEAD_LETTERS, to_cloud_event(letter), key=entry.key)
            except Unavailable:
                return False
            except Refused as refused:
                _log.warning("a dead letter was refused: %s", refused, extra={"event_id": str(entry.event_id)})
            else:
                _log.error("an event became a dead letter: %s", error, extra={"event_id": str(entry.event_id)})
                self._metrics.refused.labels(entry.topic).inc()
                return True
        # Nothing is given up: it stays in the outbox until somebody mends the scopes.
        return False


def _letter(entry: Entry, error: Refused, now: datetime, *, whole: bool = True) -> DeadLetter:
    value = json.dumps(entry.envelope, separators=(",", ":")).encode()
    cut = "" if whole else f" (the event of {len(value)} bytes is left out)"
    data = entry.envelope.get("data", {})
    return DeadLetter(
        consumer="api",
        kind="permanent",
        error_class=type(error).__name__,
        message=f"{error}{cut}",
        attempts=1,
        origin=Origin(topic=entry.topic, key=entry.key),
        value=b64encode(value).decode() if whole else "",
        event_id=str(entry.event_id),
        event_type=entry.envelope.get("type"),
        user_id=entry.user_id,
        correlation_id=data.get("correlation_id"),
        failed_at=now,
    )
