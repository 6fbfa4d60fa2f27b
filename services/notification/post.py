"""SMTP: one mail handed over, and what the server's answer means.

Temporary answers, refused log-ins and broken connections before DATA are `Unavailable`: the reminder comes again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from aiosmtplib import SMTPDataError, SMTPException, SMTPHeloError, SMTPResponseException

from services.notification.account import Account, MailServerUnavailable
from services.notification.connections import Connection, Connections, Limits, is_lost
from services.notification.mail import Mail

__all__ = ["LastCheck", "Limits", "Outcome", "Post", "Write"]

LastCheck = Callable[[], Awaitable[bool]]
# Raises ValueError where the mail can't be written.
Write = Callable[[], Mail]

# About this deployment, not about this mail: log-in needed, refused or too weak, encryption needed.
_NOT_THE_MAILS_FAULT = frozenset({503, 504, 523, 524, 525, 530, 534, 535, 538})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a mail, in the server's words."""

    state: Literal["sent", "failed", "unknown", "stale"]
    words: str | None = None


class Post:
    """Hands mails over, a few at a time, on connections that are kept."""

    def __init__(self, limits: Limits) -> None:
        self._connections, self._limits = Connections(limits), limits
        self._failures = 0

    async def hand_over(self, account: Account, write: Write, last_check: LastCheck) -> Outcome:
        """Give the mail that `write` makes to the server; `last_check` is asked just before DATA and may call it off.

        Raises:
            Unavailable: it was not handed over and may be later.
        """
        failures = self._failures
        async with self._connections.room(account):
            if self._failures != failures:
                # Not each of those who waited needs to find out for itself, time-out after time-out.
                raise MailServerUnavailable("mail server: it could not be reached for the mail before")
            try:
                # Not sooner: writing hundreds at once would keep those waiting that have a connection.
                mail = write()
            except ValueError as error:
                return Outcome("failed", f"the mail can't be written: {error}")
            found = await self._addressed(account, mail)
            if isinstance(found, Outcome):
                return found
            try:
                return await self._give(found, mail, last_check)
            except BaseException:
                self._connections.drop(found)
                raise

    async def aclose(self) -> None:
        """Close the connections."""
        await self._connections.aclose()

    async def _addressed(self, account: Account, mail: Mail) -> Connection | Outcome:
        """A connection on which sender and recipient were accepted, or the server's refusal.

        A kept connection that is gone is replaced; that ends with a new one.
        """
        while True:
            connection = await self._connected(account)
            try:
                await connection.client.mail(mail.sender)
                await connection.client.rcpt(mail.recipient)
            except (SMTPException, OSError) as error:
                if not connection.is_used or not is_lost(error):
                    return await self._refused(connection, error)
                self._connections.drop(connection)
            except BaseException:
                self._connections.drop(connection)
                raise
            else:
                return connection

    async def _connected(self, account: Account) -> Connection:
        try:
            return await self._connections.take(account)
        except (SMTPException, OSError, ValueError) as error:
            self._failures += 1
            # Whatever is refused before the mail is named is about this deployment, for good or not.
            raise MailServerUnavailable(f"mail server: {_words(error)}") from error

    async def _give(self, connection: Connection, mail: Mail, last_check: LastCheck) -> Outcome:
        if not await last_check():
            await self._connections.give_back(connection, is_clean=False)
            return Outcome("stale")
        try:
            answer = await connection.client.data(mail.content, timeout=self._limits.data_seconds)
        except SMTPDataError as error:
            return await self._refused(connection, error)
        except (SMTPException, OSError) as error:
            self._connections.drop(connection)
            # The server may have taken it and lost its voice: nobody can know, so it must not be sent again.
            return Outcome("unknown", f"the answer to DATA was lost: {type(error).__name__}: {error}"[:500])
        await self._connections.give_back(connection, is_clean=True)
        return Outcome("sent", f"{answer.code} {answer.message}"[:500])

    async def _refused(self, connection: Connection, error: Exception) -> Outcome:
        """A refusal for good as an outcome; whatever may pass is raised."""
        if isinstance(error, SMTPResponseException):
            await self._connections.give_back(connection, is_clean=False)
        else:
            # After a time-out nobody knows which command the next answer belongs to.
            self._connections.drop(connection)
        if not _is_about_the_mail(error):
            raise MailServerUnavailable(f"mail server: {_words(error)}") from error
        return Outcome("failed", _words(error))


def _is_about_the_mail(error: Exception) -> bool:
    """Whether the server refused this mail, and for good; it is greeted only when the first mail is named."""
    if not isinstance(error, SMTPResponseException) or isinstance(error, SMTPHeloError):
        return False
    return bool(error.code >= 500 and error.code not in _NOT_THE_MAILS_FAULT)


def _words(error: Exception) -> str:
    said = f"{error.code} {error.message}" if isinstance(error, SMTPResponseException) else None
    return (said or f"{type(error).__name__}: {error}")[:500]
