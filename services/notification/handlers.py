"""What happens to a reminder that is due: one intent, one mail, and its result as an event, whoever dies meanwhile."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar
from uuid import uuid4

from prometheus_client import Counter

from services.common.breaker import Clock
from services.common.context import correlation_id, user_id
from services.common.delivery import AnyEvent
from services.common.failures import Refused, ServiceFailure, Unavailable
from services.common.sidecar import Sidecar
from services.common.verdicts import RefusedByRuleError, kind_of
from services.notification.account import Account
from services.notification.intent_store import IntentStore
from services.notification.intents import Intent, new_intent, next_step
from services.notification.mail import Mail, Recipient, compose, message_id_of, sender_domain
from services.notification.neighbours import Neighbours
from services.notification.post import LastCheck, Outcome
from services.notification.results import Results, intent_key
from todoctl.core.dead_letters import Origin
from todoctl.core.events import ReminderEvent

log = logging.getLogger(__name__)

HandOver = Callable[[Account, Mail, LastCheck], Awaitable[Outcome]]

_REMEMBERED = 10_000
Value = TypeVar("Value")


class Mailer:
    """Sends the mail for each reminder at most once, and tries as often as it takes before it is handed over."""

    def __init__(
        self, sidecar: Sidecar, neighbours: Neighbours, *, hand_over: HandOver, page: str, clock: Clock, mails: Counter
    ) -> None:
        self._store, self._results = IntentStore(sidecar), Results(sidecar)
        self._neighbours, self._hand_over = neighbours, hand_over
        self._page, self._clock, self._mails = page, clock, mails
        self._token = uuid4().hex
        self._busy: set[str] = set()
        # Delivered again because of another reminder in its batch.
        self._told: dict[str, None] = {}
        # What came of mails whose state could not be stored: without it they would have to be called unknown.
        self._unstored: dict[str, Intent] = {}

    async def handle_all(self, items: Sequence[tuple[AnyEvent, Origin]]) -> None:
        """Do what follows from each of many events, all at a time: what they ask of others goes out together.

        Raises:
            Exception: one of them failed, the others are done; a failure that may pass goes before others.
        """
        results = await asyncio.gather(*(self._handle_one(*item) for item in items), return_exceptions=True)
        failures = sorted(
            (result for result in results if isinstance(result, Exception)),
            key=lambda failure: kind_of(failure) != "transient",
        )
        if failures:
            raise failures[0]

    async def _handle_one(self, event: AnyEvent, origin: Origin) -> None:
        # The logs of the handler are about this event; each one runs in a context of its own.
        correlation_id.set(event.correlation_id)
        user_id.set(event.user_id)
        await self.handle(event, origin)

    async def handle(self, event: AnyEvent, origin: Origin) -> None:
        """Do what follows from one event.

        Raises:
            PermanentError: the mail was refused for good, or can't be written.
            Unavailable: something needed is away, or another process works on it.
        """
        if not isinstance(event, ReminderEvent) or event.event_type != "reminder.due":
            return
        key = intent_key(event)
        if key in self._told:
            return
        if key in self._busy:
            raise Unavailable("this reminder's mail is being handed over")
        self._busy.add(key)
        try:
            await self._tell(event, await self._settle(event, origin, key))
            _remember(self._told, key, None)
        except Refused as error:
            # The sidecar's rules are about this deployment; the reminder waits until they are right.
            raise Unavailable(str(error)) from error
        finally:
            self._busy.discard(key)

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
        claimed = new_intent(self._token, origin, message_id, self._clock())
        # While the whole batch is at this point; just before DATA only as many mails are as there are connections.
        ours, to = await asyncio.gather(
            self._store.claim(key, claimed, etag), self._neighbours.recipient(event.user_id)
        )
        started = False

        async def last_check() -> bool:
            nonlocal started
            if not await self._neighbours.is_current(event):
                return False
            await self._store.exchange(key, claimed.moved("handing-over", self._clock()), ours)
            started = True
            return True

        try:
            outcome = await self._send(event, to, account, last_check)
        except Unavailable:
            if started:
                await self._put_back(key, claimed)
            raise
        done = claimed.moved(outcome.state, self._clock(), words=outcome.words)
        self._mails.labels(outcome.state).inc()
        return await self._keep(key, done)

    async def _send(
        self, event: ReminderEvent, to: Recipient | None, account: Account, last_check: LastCheck
    ) -> Outcome:
        if to is None:
            return Outcome("failed", f"there is no user {event.user_id}")
        try:
            mail = compose(event, to, sender=account.sender, link=self._link(event), now=self._clock())
        except ValueError as error:
            return Outcome("failed", f"the mail can't be written: {error}")
        return await self._hand_over(account, mail, last_check)

    def _link(self, event: ReminderEvent) -> str:
        return f"{self._page}/?task={event.task_id}" if self._page else ""

    async def _keep(self, key: str, done: Intent) -> Intent:
        """Keep how it ended, in memory where the store is away: the reminder is delivered again until it is kept."""
        _remember(self._unstored, key, done)
        await self._store.save(key, done)
        self._unstored.pop(key, None)
        return done

    async def _put_back(self, key: str, claimed: Intent) -> None:
        """Say that DATA did not happen, so that a process after us may try; without it the lease ends as unknown."""
        try:
            await self._store.save(key, claimed.moved("claimed", self._clock()))
        except ServiceFailure as error:
            log.warning("the claim on a mail was not put back", extra={"error": str(error)[:200]})

    async def _tell(self, event: ReminderEvent, intent: Intent) -> None:
        await self._results.tell(event, intent)
        log.info("reminder", extra={"state": intent.state, "message_id": intent.message_id, "task_id": event.task_id})
        if intent.state == "failed":
            raise RefusedByRuleError(f"the mail was refused: {intent.words}")


def _remember(kept: dict[str, Value], key: str, value: Value) -> None:
    """Keep the newest few thousand."""
    kept.pop(key, None)
    kept[key] = value
    if len(kept) > _REMEMBERED:
        del kept[next(iter(kept))]
