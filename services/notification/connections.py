"""Connections to the mail server, kept between mails: few servers like to be greeted for each."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from aiosmtplib import SMTP, SMTPException, SMTPResponseException

from services.notification.account import Account
from services.notification.mail import sender_domain

log = logging.getLogger(__name__)

# The server is about to close the connection, and says it when it next speaks.
_CLOSING = 421
# For what is only good manners.
_POLITE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Limits:
    """How long the server may take for an answer, and for how many mails and idle seconds a connection is kept."""

    command_seconds: float = 5.0
    # Shorter than the hand-over's lease.
    data_seconds: float = 60.0
    mails: int = 100
    idle_seconds: float = 20.0


@dataclass(slots=True)
class Connection:
    """One connection: to which account, for how many mails already, since when it is idle."""

    client: SMTP
    account: Account
    mails: int = 0
    idle_since: float = 0.0

    @property
    def is_used(self) -> bool:
        """Whether it was kept from an earlier mail: the server may have forgotten it since."""
        return self.mails > 0


class Connections:
    """A few connections, each for one mail at a time."""

    def __init__(self, limits: Limits, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.limits, self._monotonic = limits, monotonic
        self._rooms: tuple[Account, asyncio.Semaphore] | None = None
        self._idle: list[Connection] = []
        self._timer: asyncio.TimerHandle | None = None
        self._leaving: set[asyncio.Task[None]] = set()

    def room(self, account: Account) -> asyncio.Semaphore:
        """Where a mail waits until it may have one of the account's connections."""
        if self._rooms is None or self._rooms[0] != account:
            self._rooms = account, asyncio.Semaphore(account.connections)
        return self._rooms[1]

    async def take(self, account: Account) -> Connection:
        """A kept connection, or a new one; raises what aiosmtplib raises."""
        while self._idle:
            kept = self._idle.pop()
            if kept.account == account and kept.client.is_connected:
                return kept
            self._leave(kept)
        return await self.open(account)

    async def open(self, account: Account) -> Connection:
        """A new connection, greeted and logged in; raises what aiosmtplib raises."""
        client = _client(account, self.limits.command_seconds)
        try:
            await client.connect()
        except BaseException:
            client.close()
            raise
        return Connection(client, account)

    async def give_back(self, connection: Connection, *, is_clean: bool) -> None:
        """Keep a connection for the next mail; with a mail begun on it and not ended, that is taken back first."""
        connection.mails += 1
        if not is_clean:
            is_clean = await _reset(connection.client)
        if not is_clean or connection.mails >= self.limits.mails or not connection.client.is_connected:
            self._leave(connection)
            return
        connection.idle_since = self._monotonic()
        self._idle.append(connection)
        self._watch()

    def drop(self, connection: Connection) -> None:
        """Close a connection on which nothing can be trusted any more."""
        connection.client.close()

    async def aclose(self) -> None:
        """Say goodbye on all connections that nobody uses."""
        if self._timer is not None:
            self._timer.cancel()
        while self._idle:
            self._leave(self._idle.pop())
        await asyncio.gather(*self._leaving, return_exceptions=True)

    def _watch(self) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self.limits.idle_seconds, self._expire)

    def _expire(self) -> None:
        self._timer = None
        oldest = self._monotonic() - self.limits.idle_seconds
        late = [connection for connection in self._idle if connection.idle_since <= oldest]
        self._idle = [connection for connection in self._idle if connection.idle_since > oldest]
        for connection in late:
            self._leave(connection)
        if self._idle:
            self._watch()

    def _leave(self, connection: Connection) -> None:
        """Say goodbye, without anybody waiting for the server's answer."""
        task = asyncio.create_task(_quit(connection.client))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)


def is_lost(error: Exception) -> bool:
    """Whether the connection is gone, or about to be: on a kept one, that says nothing about the mail server now."""
    if isinstance(error, SMTPResponseException):
        return bool(error.code == _CLOSING)
    return isinstance(error, ConnectionError)


async def _reset(client: SMTP) -> bool:
    try:
        await client.rset(timeout=_POLITE_SECONDS)
    except (SMTPException, OSError):
        return False
    return True


async def _quit(client: SMTP) -> None:
    try:
        async with asyncio.timeout(_POLITE_SECONDS):
            if client.is_connected:
                await client.quit()
    except (SMTPException, OSError):
        log.debug("the mail server closed first")
    finally:
        client.close()


def _client(account: Account, seconds: float) -> SMTP:
    return SMTP(
        hostname=account.host,
        port=account.port,
        username=account.username,
        password=account.password,
        # The machine's own name is nobody's business, and looking it up can take long.
        local_hostname=sender_domain(account.sender),
        timeout=seconds,
        use_tls=account.tls == "tls",
        start_tls=account.tls == "starttls",
    )
