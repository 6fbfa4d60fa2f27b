"""What notification asks of others through its sidecar: the mail account, the user, whether a reminder still stands."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import httpx

from services.common.failures import Unavailable
from services.common.sidecar import Sidecar
from services.common.together import Together
from services.notification.account import Account
from services.notification.mail import Recipient
from todoctl.core.events import ReminderEvent

SECRET = "smtp"  # noqa: S105 - the name of a secret
_KEEP_SECONDS = 30.0
_KEEP_USERS = 10_000


class Neighbours:
    """The other services and the secret store, as far as a reminder needs them."""

    def __init__(
        self, sidecar: Sidecar, *, service_token: str, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._sidecar, self._monotonic = sidecar, monotonic
        self._headers = {"x-service-token": service_token}
        self._account: tuple[float, Account] | None = None
        self._recipients: dict[int, tuple[float, Recipient]] = {}
        self._accounts: Together[str, Account] = Together(self._find_account)
        self._users: Together[int, Recipient | None] = Together(self._find_users, moment=0)  # a batch asks at once

    async def account(self) -> Account:
        """The mail account; a changed secret counts within half a minute."""
        if self._account is None or self._monotonic() - self._account[0] > _KEEP_SECONDS:
            return await self._accounts.ask(SECRET)
        return self._account[1]

    async def recipient(self, user_id: int) -> Recipient | None:
        """Whom the reminder is for, as known half a minute ago at most; None where auth knows no such user."""
        kept = self._recipients.get(user_id)
        if kept and self._monotonic() - kept[0] <= _KEEP_SECONDS:
            return kept[1]
        found = await self._users.ask(user_id)
        self._recipients.pop(user_id, None)
        if found is not None:
            self._recipients[user_id] = (self._monotonic(), found)
        if len(self._recipients) > _KEEP_USERS:
            del self._recipients[next(iter(self._recipients))]
        return found

    async def are_current(self, events: Sequence[ReminderEvent]) -> list[bool]:
        """Of each, whether the reminder still stands: not moved, its task still open."""
        asked = [
            {"reminder_id": event.payload.reminder_id, "trigger_at": event.payload.trigger_at.isoformat()}
            for event in events
        ]
        path = "/internal/reminder-standings"
        answer = await self._sidecar.invoke("api", "POST", path, json={"reminders": asked}, headers=self._headers)
        return [bool(current) for current in _document(answer, "api")["current"]]

    async def _find_account(self, names: Sequence[str]) -> list[Account]:
        account = Account.of(await self._sidecar.secret(SECRET))
        self._account = (self._monotonic(), account)
        return [account] * len(names)

    async def _find_users(self, ids: Sequence[int]) -> list[Recipient | None]:
        asked = sorted(set(ids))
        answer = await self._sidecar.invoke("auth", "POST", "/internal/user-lookups", json={"ids": asked})
        users = {int(user["id"]): user for user in _document(answer, "auth")["users"]}
        found = {id_: Recipient(email=str(user["email"]), zone=str(user["zone"])) for id_, user in users.items()}
        return [found.get(id_) for id_ in ids]


def _document(answer: httpx.Response, app: str) -> dict[str, Any]:
    if answer.status_code != 200:
        raise Unavailable(f"{app} answered {answer.status_code}")
    document: dict[str, Any] = answer.json()
    return document
