"""Alarms: a Dapr job for each second in which reminders are due, set beside the requests and at best effort.

A job only wakes; without one a reminder is claimed by the sweep. So nothing here may delay or fail a request.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime

from services.api.backoff import Backoff
from services.api.metrics import ApiMetrics
from services.common.failures import Refused, ServiceFailure
from services.common.sidecar import Sidecar

_log = logging.getLogger("services.api.alarms")

PREFIX = "reminders-"
_CAPACITY = 10_000
_AT_ONCE = 8
_LONGEST_PAUSE = 15.0


class Alarms:
    """Takes moments without waiting, and has the scheduler call back in the second after each."""

    def __init__(
        self,
        sidecar: Sidecar,
        *,
        wake: Callable[[], None],
        metrics: ApiMetrics,
        clock: Callable[[], datetime],
        capacity: int = _CAPACITY,
    ) -> None:
        self._sidecar, self._wake, self._metrics, self._clock, self._capacity = sidecar, wake, metrics, clock, capacity
        self._wanted: OrderedDict[int, None] = OrderedDict()
        self._set: OrderedDict[int, None] = OrderedDict()
        self._some = asyncio.Event()
        self._backoff = Backoff[str](monotonic=time.monotonic, longest=_LONGEST_PAUSE)

    def at(self, moment: datetime) -> None:
        """Want to be woken at `moment`; returns at once, and forgets it where too many are waiting."""
        second = math.ceil(moment.timestamp())
        if second <= self._clock().timestamp():
            self._wake()
        elif second in self._set or second in self._wanted:
            return
        elif len(self._wanted) >= self._capacity:
            self._metrics.alarms.labels("dropped").inc()
        else:
            self._wanted[second] = None
            self._some.set()

    async def run(self) -> None:
        """Set what is wanted, for ever; while the scheduler is away the wanted ones wait."""
        while True:
            await self._some.wait()
            self._some.clear()
            while self._wanted:
                seconds = list(self._wanted)[:_AT_ONCE]
                done = await asyncio.gather(*(self._try(second) for second in seconds))
                if all(done):
                    self._backoff.release("scheduler")
                else:
                    await asyncio.sleep(self._backoff.hold("scheduler"))

    async def _try(self, second: int) -> bool:
        """Whether the alarm for this second needs no further try."""
        due = datetime.fromtimestamp(second, UTC)
        try:
            if due > self._clock():
                await self._sidecar.schedule_job(f"{PREFIX}{second}", due=due, data={"due": due.isoformat()})
            else:
                self._wake()
        except Refused as error:
            self._metrics.alarms.labels("refused").inc()
            _log.error("a job was refused, the sweep will do its work: %s", error)
        except ServiceFailure as error:
            self._metrics.alarms.labels("failed").inc()
            _log.warning("the scheduler must be asked again: %s", error)
            return False
        except Exception:  # noqa: BLE001 - alarms must go on; a bug in one is logged, the sweep does its work
            _log.exception("an alarm failed")
        else:
            self._metrics.alarms.labels("set").inc()
        self._remember(second)
        return True

    def _remember(self, second: int) -> None:
        self._wanted.pop(second, None)
        self._set[second] = None
        if len(self._set) > self._capacity:
            self._set.popitem(last=False)
