"""What happens to a reminder that is due: one intent, one mail, and its result as an event, whoever dies meanwhile."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar
from uuid import uuid4

from prometheus_client import Counter

from services.common.breaker import Clock
from services.common.context import correlation_id, user_id
from services.common.delivery import AnyEvent
from services.common.failures import Refused, ServiceFailure, Unavailable
from services.common.sidecar import Sidecar, StateWrite
from services.common.verdicts import RefusedByRuleError, kind_of
from services.notification.account import Account
from services.notification.intent_store import IntentStore
from services.notification.intents import Intent, new_intent, next_step
from services.notification.last_checks import LastChecks
from services.notification.mail import Mail, Recipient, compose, message_id_of, sender_domain
from services.notification.neighbours import Neighbours
from services.notification.post import LastCheck, Outcome, Write
from services.notification.results import Results, intent_key
from todoctl.core.dead_letters import Origin
from todoctl.core.events import ReminderEvent

log = logging.getLogger(__name__)

HandOver = Callable[[Account, Write, LastCheck], Awaitable[Outcome]]

_REMEMBERED = 10_000
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Settled:
    """A reminder whose mail has ended, one way or another."""

    event: ReminderEvent
    intent: Intent


class Mailer:
    """Sends the mail for each reminder at most once, and tries as often as it takes before it is handed over."""

    def __init__(
        self, sidecar: Sidecar, neighbours: Neighbours, *, hand_over: HandOver, page: str, clock: Clock, mails: Counter
    ) -> None:
        self._store, self._results = IntentStore(sidecar), Results(sidecar)
        self._neighbours, self._hand_over = neighbours, hand_over
        self._last_checks = LastChecks(neighbours, self._store)
        self._page, self._clock, self._mails = page, clock, mails
        self._token = uuid4().hex
        self._busy: set[str] = set()
        # Delivered again because of another reminder in its batch.
        self._told: dict[str, None] = {}
        # What came of mails whose state could not be stored: without it they would have to be called unknown.
        self._unstored: dict[str, Intent] = {}

    async def handle_all(self, items: Sequence[tuple[AnyEvent, Origin]]) -> None:
        """Do what follows from each of many events, all at a time; what came of them is told together at the end.

        Raises:
            Unavailable: for one of them something needed is away, or another process works on it; others may be done.
            PermanentError: one's mail was refused for good, or can't be written; all are done.
        """
        ends = await asyncio.gather(*(self._settled(*item) for item in items), return_exceptions=True)
        failures = [end for end in ends if isinstance(end, Exception)]
        failures += await self._tell([end for end in ends if isinstance(end, Settled)])
        if failures:
            raise min(failures, key=lambda failure: kind_of(failure) != "transient")

    async def _settled(self, event: AnyEvent, origin: Origin) -> Settled | None:
        """How the mail that one event asks for has ended; None where it asks for none, or its end was told."""
        if not isinstance(event, ReminderEvent) or event.event_type != "reminder.due":
            return None
        key = intent_key(event)
        if key in self._told:
            return None
        if key in self._busy:
            raise Unavailable("this reminder's mail is being handed over")
        # The logs are about this event; each one runs in a context of its own.
        correlation_id.set(event.correlation_id)
        user_id.set(event.user_id)
        self._busy.add(key)
        try:
            intent = await self._settle(event, origin, key)
        except Refused as error:
            # The sidecar's rules are about this deployment; the reminder waits until they are right.
            raise Unavailable(str(error)) from error
        finally:
            self._busy.discard(key)
        log.info("reminder", extra={"state": intent.state, "message_id": intent.message_id, "task_id": event.task_id})
        return Settled(event, intent)

    async def _settle(self, event: ReminderEvent, origin: Origin, key: str) -> Intent:
        """The reminder's intent in a state that does not change any more."""
        if key in self._unstored:
            return await self._keep(key, self._unstored[key])
        intent, etag = await self._store.read(key) or (None, None)
        step = next_step(intent, token=self._token, origin=origin, now=self._clock())
        if step == "wait":
            raise Unavailable("another process works on this reminder's mail")
        if step == "tell" and intent is not None:
            return intent
        if step == "give up" and intent is not None:
            lost = intent.moved("unknown", self._clock(), words="the process ended while it handed the mail over")
            return await self._store.exchange(key, lost, etag)
        return await self._deliver(event, origin, key, etag)

    async def _deliver(self, event: ReminderEvent, origin: Origin, key: str, etag: str | None) -> Intent:
        account = await self._neighbours.account()
        message_id = message_id_of(event, sender_domain(account.sender))
        started: Intent | None = None

        async def last_check() -> bool:
            nonlocal started
            ours = new_intent(self._token, origin, message_id, self._clock())
            if not await self._last_checks.passed(event, StateWrite(key, ours.document, etag)):
                return False
            started = ours
            return True

        try:
            outcome = await self._send(event, await self._neighbours.recipient(event.user_id), account, last_check)
        except Unavailable:
            if started:
                await self._put_back(key, started)
            raise
        self._mails.labels(outcome.state).inc()
        intent = started or new_intent(self._token, origin, message_id, self._clock())
        done = intent.moved(outcome.state, self._clock(), words=outcome.words)
        # Before the hand-over nothing was taken: another process may be at it, or have sent it.
        return await (self._keep(key, done) if started else self._store.exchange(key, done, etag))

    async def _send(
        self, event: ReminderEvent, to: Recipient | None, account: Account, last_check: LastCheck
    ) -> Outcome:
        if to is None:
            return Outcome("failed", f"there is no user {event.user_id}")

        def write() -> Mail:
            return compose(event, to, sender=account.sender, link=self._link(event), now=self._clock())

        return await self._hand_over(account, write, last_check)

    def _link(self, event: ReminderEvent) -> str:
        return f"{self._page}/?task={event.task_id}" if self._page else ""

    async def _keep(self, key: str, done: Intent) -> Intent:
        """Keep how it ended, in memory where the store is away: the reminder is delivered again until it is kept."""
        _remember(self._unstored, key, done)
        await self._store.save(key, done)
        self._unstored.pop(key, None)
        return done

    async def _put_back(self, key: str, started: Intent) -> None:
        """Say that DATA did not happen, so that any process may try; without it the lease ends as unknown."""
        try:
            await self._store.save(key, started.put_back(self._clock()))
        except ServiceFailure as error:
            log.warning("a mail that was not handed over was not put back", extra={"error": str(error)[:200]})

    async def _tell(self, settled: Sequence[Settled]) -> list[Exception]:
        """Publish what came of the mails; what is left to say of some: not published, or refused for good."""
        try:
            unpublished = await self._results.tell([(one.event, one.intent) for one in settled])
        except ServiceFailure as error:
            return [Unavailable(str(error))]
        for one in settled:
            # One that was refused has a letter due, which is asked for again with it alone.
            if one.event.event_id not in unpublished and one.intent.state != "failed":
                _remember(self._told, intent_key(one.event), None)
        refused = [one.intent.words for one in settled if one.intent.state == "failed"]
        failures: list[Exception] = [Unavailable(words) for words in unpublished.values()]
        return failures + [RefusedByRuleError(f"the mail was refused: {words}") for words in refused]


def _remember(kept: dict[str, Value], key: str, value: Value) -> None:
    """Keep the newest few thousand."""
    kept.pop(key, None)
    kept[key] = value
    if len(kept) > _REMEMBERED:
        del kept[next(iter(kept))]
