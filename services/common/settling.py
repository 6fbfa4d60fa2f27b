"""What becomes of each record of a delivery: its effect, another delivery, or a dead letter.

docs/decisions/0006-dead-letters.md says which failure leads where.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge

from services.common.breaker import MAX_ATTEMPTS, Attempts, Breaker, Clock
from services.common.delivery import Delivery, is_probe
from services.common.letters import Letters, hints, record_id
from services.common.verdicts import kind_of

log = logging.getLogger(__name__)

Status = Literal["SUCCESS", "RETRY"]
Item = TypeVar("Item")

# Letters of one batch that are sent at the same time.
_AT_ONCE = 20


@dataclass(frozen=True, slots=True)
class EventMetrics:
    """The counters that all routes of a service share."""

    processed: Counter
    paused: Gauge

    @classmethod
    def in_registry(cls, registry: CollectorRegistry) -> EventMetrics:
        """The metrics, registered once per process."""
        return cls(
            processed=Counter(
                "events_processed",
                "Deliveries of records by what became of them.",
                ["topic", "outcome"],
                registry=registry,
            ),
            paused=Gauge("consumer_paused", "1 while a consumer is paused.", ["topic"], registry=registry),
        )


@dataclass(slots=True)
class _Work(Generic[Item]):
    """One delivery on its way to an answer; without a status, a letter is due about `error`."""

    delivery: Delivery
    item: Item | None = None
    error: Exception | None = None
    status: Status | None = None

    @property
    def record(self) -> str:
        return record_id(self.delivery)


class Consumer(Generic[Item]):
    """Decides what each record of a batch is answered: read, handled, delivered again or made a dead letter.

    `handle` gets all readable records of a batch at once and has to be idempotent: it is called again for records it
    has already handled, when another record of their batch is to be delivered again.
    """

    def __init__(
        self,
        *,
        topic: str,
        read: Callable[[Delivery], Item],
        handle: Callable[[Sequence[Item]], Awaitable[object]],
        letters: Letters | None,
        clock: Clock,
        metrics: EventMetrics,
    ) -> None:
        self.topic = topic
        self._read = read
        self._handle = handle
        self._letters = letters
        self._metrics = metrics
        self._attempts = Attempts(clock=clock)
        self._breaker = Breaker(clock=clock)
        metrics.paused.labels(topic).set_function(lambda: float(self._breaker.is_paused))

    @property
    def problem(self) -> str | None:
        """Why the consumer is paused, for /readyz; None while it runs."""
        return f"{self.topic}: {self._breaker.reason}" if self._breaker.is_paused else None

    async def settle(self, deliveries: Sequence[Delivery]) -> list[Status]:
        """The answer to each delivery, in order; its effect or its letter is safe once it says SUCCESS."""
        works = [self._open(delivery) for delivery in deliveries]
        open_works = [work for work in works if work.status is None]
        if open_works and not self._breaker.allows():
            self._answer(open_works, "RETRY", "paused")
        elif open_works:
            await self._process(open_works)
        return [work.status or "RETRY" for work in works]

    def _open(self, delivery: Delivery) -> _Work[Item]:
        work: _Work[Item] = _Work(delivery)
        if is_probe(delivery):
            self._answer([work], "SUCCESS", "probe")
        elif self._letters and self._letters.has_sent(delivery):
            self._answer([work], "SUCCESS", "repeated")
        # A record's id is a hash over its bytes: only computed where something is known about some record.
        elif self._attempts and self._attempts.is_waiting(work.record):
            self._answer([work], "RETRY", "waiting")
        return work

    async def _process(self, works: list[_Work[Item]]) -> None:
        for work in works:
            self._parse(work)
        await self._handle_all([work for work in works if work.item is not None])
        due = [work for work in works if work.status is None]
        # The batch comes again anyway, so its letters can wait until what is away is back.
        if any(work.error and kind_of(work.error) == "transient" for work in works):
            self._answer(due, "RETRY", "transient")
        else:
            await self._send_letters(due)

    def _parse(self, work: _Work[Item]) -> None:
        try:
            work.item = self._read(work.delivery)
        except Exception as exc:  # noqa: BLE001 - whatever a record does to our parser, it must not reach the sidecar
            self._note_failure(work, exc)

    async def _handle_all(self, works: list[_Work[Item]]) -> None:
        error = await self._attempt(works)
        if error is None or len(works) == 1 or kind_of(error) == "transient":
            self._note(works, error)
            return
        if kind_of(error) == "unknown":
            # Where each then succeeds, nothing else would tell of it.
            log.warning(
                "records failed together for an unknown reason, each is tried alone",
                extra={"topic": self.topic, "records": len(works), "error": f"{type(error).__name__}: {error}"[:500]},
                exc_info=error,
            )
        # One of them is to blame: each alone, until something says that going on is useless.
        for position, work in enumerate(works):
            error = await self._attempt([work])
            self._note([work], error)
            if error and (self._breaker.is_paused or kind_of(error) == "transient"):
                self._answer(works[position + 1 :], "RETRY", "waiting")
                return

    async def _attempt(self, works: list[_Work[Item]]) -> Exception | None:
        try:
            if works:
                await self._handle([work.item for work in works if work.item is not None])
        except Exception as exc:  # noqa: BLE001 - what a handler raises is sorted by kind, never answered with a 500
            return exc
        return None

    def _note(self, works: list[_Work[Item]], error: Exception | None) -> None:
        if error and kind_of(error) == "transient":
            self._put_off(works, error)
            return
        for work in works:
            if error:
                self._note_failure(work, error)
            else:
                self._note_success(work)
        if error is None:
            self._answer(works, "SUCCESS", "processed")

    def _note_success(self, work: _Work[Item]) -> None:
        self._breaker.succeeded()
        if self._attempts:
            self._attempts.forget(work.record)

    def _put_off(self, works: list[_Work[Item]], error: Exception) -> None:
        for work in works:
            work.error = error
        # One line for the whole batch: it comes again every second until the dependency is back.
        self._log(logging.WARNING, "a dependency is away, the records will be delivered again", works[0])
        self._answer(works, "RETRY", "transient")

    def _note_failure(self, work: _Work[Item], error: Exception) -> None:
        work.error = error
        if kind_of(error) == "permanent":
            self._breaker.succeeded()
        else:
            self._note_surprise(work)

    def _note_surprise(self, work: _Work[Item]) -> None:
        self._breaker.failed()
        self._log(logging.ERROR, "a record failed for an unknown reason", work, with_traceback=True)
        if self._attempts.failed(work.record) < MAX_ATTEMPTS or self._letters is None:
            self._answer([work], "RETRY", "unknown")

    async def _send_letters(self, works: list[_Work[Item]]) -> None:
        for start in range(0, len(works), _AT_ONCE):
            await asyncio.gather(*(self._send_letter(work) for work in works[start : start + _AT_ONCE]))

    async def _send_letter(self, work: _Work[Item]) -> None:
        if self._letters is None or work.error is None:
            self._answer([work], "RETRY", "unknown")
            return
        attempts = max(1, self._attempts.count(work.record))
        try:
            await self._letters.send(work.delivery, work.error, attempts=attempts)
        except Exception as exc:  # noqa: BLE001 - without its letter a record stays on the topic, whatever kept it back
            log.warning(
                "a dead letter could not be sent, the record will be delivered again", extra={"error": str(exc)}
            )
            self._answer([work], "RETRY", "letter_failed")
            return
        self._log(logging.ERROR, "dead letter", work)
        self._attempts.forget(work.record)
        self._answer([work], "SUCCESS", "dead_letter")

    def _answer(self, works: Sequence[_Work[Item]], status: Status, outcome: str) -> None:
        for work in works:
            work.status = status
        if works:
            self._metrics.processed.labels(self.topic, outcome).inc(len(works))

    def _log(self, level: int, message: str, work: _Work[Item], *, with_traceback: bool = False) -> None:
        origin = work.delivery.origin
        where = {"topic": origin.topic, "partition": origin.partition, "offset": origin.offset}
        why = {"error_class": type(work.error).__name__, "error": str(work.error)[:500]}
        who = {name: said for name, said in hints(work.delivery.value).items() if name != "event_type"}
        log.log(level, message, extra={**where, **why, **who}, exc_info=work.error if with_traceback else None)
