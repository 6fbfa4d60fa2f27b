"""api as sync asks it: the changes after a place, and where many users' changes end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx

from services.common.failures import Refused, Unavailable
from services.common.sidecar import Sidecar
from services.sync.handlers import NOWHERE, Page, page_of

# After a restart every client reads at once; api is to answer its own users meanwhile.
_AT_ONCE = 16
_USERS_PER_CALL = 1000


class ChangeLog:
    """Reads from api through the sidecar."""

    def __init__(self, sidecar: Sidecar, *, service_token: str) -> None:
        self._sidecar = sidecar
        self._headers = {"x-service-token": service_token}
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def after(self, user_id: int, position: int) -> Page:
        """The user's changes after `position`.

        Raises:
            Unavailable: api can't say now.
        """
        since = "" if position == NOWHERE else f"?since={position}"
        async with self._places:
            answer = await self._ask("GET", f"/internal/users/{user_id}/changes{since}")
        page: Page = _read(page_of, answer)
        return page

    async def heads(self, users: Sequence[int]) -> dict[int, int]:
        """The number of each user's last change; 0 where there was none yet.

        Raises:
            Unavailable: api can't say now.
        """
        found: dict[int, int] = {}
        for start in range(0, len(users), _USERS_PER_CALL):
            asked = list(users[start : start + _USERS_PER_CALL])
            body = await self._ask("POST", "/internal/heads", {"user_ids": asked})
            found |= _read(lambda body: {int(user): int(head) for user, head in body["heads"].items()}, body)
        return {user: found.get(user, 0) for user in users}

    async def _ask(self, method: str, path: str, json: Any = None) -> httpx.Response:
        try:
            answer = await self._sidecar.invoke("api", method, path, json=json, headers=self._headers)
        except Refused as error:
            # Access rules are about this deployment; clients wait until they are right.
            raise Unavailable(f"the call to api was refused on the way: {error}") from error
        if answer.status_code != httpx.codes.OK:
            raise Unavailable(f"api answered {answer.status_code} to {path.partition('?')[0]}")
        return answer


def _read(parse: Any, answer: httpx.Response) -> Any:
    try:
        return parse(answer.json())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Unavailable(f"api's answer can't be read: {error!r}") from error
