"""What notification asks of others through its sidecar: the mail account, the user, whether a reminder still stands."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import httpx

from services.common.failures import Unavailable
from services.common.sidecar import Sidecar
from services.notification.mail import Recipient
from services.notification.post import Account
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

    async def account(self) -> Account:
        """The mail account; a changed secret counts within half a minute."""
        if self._account is None or self._monotonic() - self._account[0] > _KEEP_SECONDS:
            self._account = (self._monotonic(), Account.of(await self._sidecar.secret(SECRET)))
        return self._account[1]

    async def recipient(self, user_id: int) -> Recipient | None:
        """Whom the reminder is for, as known half a minute ago at most; None where auth knows no such user."""
        kept = self._recipients.get(user_id)
        if kept and self._monotonic() - kept[0] <= _KEEP_SECONDS:
            return kept[1]
        answer = await self._sidecar.invoke("auth", "GET", f"/internal/users/{user_id}")
        if answer.status_code == 404:
            return None
        user = _document(answer, "auth")
        found = Recipient(email=str(user["email"]), zone=str(user["zone"]))
        self._recipients.pop(user_id, None)
        self._recipients[user_id] = (self._monotonic(), found)
        if len(self._recipients) > _KEEP_USERS:
            del self._recipients[next(iter(self._recipients))]
        return found

    async def is_current(self, event: ReminderEvent) -> bool:
        """Whether the reminder still stands: not moved, its task still open."""
        moment = quote(event.payload.trigger_at.isoformat(), safe="")
        path = f"/internal/reminders/{event.payload.reminder_id}?trigger_at={moment}"
        answer = await self._sidecar.invoke("api", "GET", path, headers=self._headers)
        return bool(_document(answer, "api")["current"])


def _document(answer: httpx.Response, app: str) -> dict[str, Any]:
    if answer.status_code != 200:
        raise Unavailable(f"{app} answered {answer.status_code}")
    document: dict[str, Any] = answer.json()
    return document
