"""SMTP: one mail handed over, and what the server's answer means.

Temporary answers, refused log-ins and broken connections before DATA are `Unavailable`: the reminder comes again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Self

import aiosmtplib
from aiosmtplib import SMTP, SMTPDataError, SMTPException, SMTPResponseException

from services.common.failures import Unavailable
from services.notification.mail import Mail, sender_domain

log = logging.getLogger(__name__)

# About this deployment, not about this mail: log-in needed, refused or too weak, encryption needed.
_NOT_THE_MAILS_FAULT = frozenset({503, 504, 523, 524, 525, 530, 534, 535, 538})
_TLS = ("none", "starttls", "tls")


class MailServerUnavailable(Unavailable):
    """The mail server does not take mails for now."""


@dataclass(frozen=True)
class Account:
    """The mail server and how we log in there; secret parts don't show in its repr."""

    host: str
    port: int
    sender: str
    tls: str = "starttls"
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    @classmethod
    def of(cls, secret: Mapping[str, str]) -> Self:
        """The account that the secret `smtp` describes.

        Raises:
            MailServerUnavailable: it is not whole; mails wait until it is.
        """
        tls = secret.get("tls", "starttls")
        try:
            sender_domain(secret.get("sender", ""))
            port = int(secret.get("port", ""))
        except (ValueError, IndexError) as error:
            raise MailServerUnavailable(f"the secret smtp needs a sender's address and a port: {error}") from error
        if tls not in _TLS or not secret.get("host"):
            raise MailServerUnavailable(f"the secret smtp needs a host, and tls as one of {', '.join(_TLS)}")
        login = {name: secret.get(name) or None for name in ("username", "password")}
        return cls(host=secret["host"], port=port, sender=secret["sender"], tls=tls, **login)


@dataclass(frozen=True, slots=True)
class Limits:
    """How long the server may take for one answer; DATA's is shorter than the hand-over's lease."""

    command_seconds: float = 5.0
    data_seconds: float = 60.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a mail, in the server's words."""

    state: Literal["sent", "failed", "unknown", "stale"]
    words: str | None = None


async def hand_over(
    account: Account, mail: Mail, last_check: Callable[[], Awaitable[bool]], *, limits: Limits
) -> Outcome:
    """Give the mail to the server; `last_check` is asked just before DATA and may call it off.

    Raises:
        Unavailable: it was not handed over and may be later.
    """
    client = _client(account, limits.command_seconds)
    try:
        try:
            await client.connect()
            await client.mail(mail.sender)
            await client.rcpt(mail.recipient)
        except (SMTPException, OSError) as error:
            return _refusal(error)
        if not await last_check():
            return Outcome("stale")
        return await _data(client, mail, limits.data_seconds)
    finally:
        await _leave(client)


async def _data(client: SMTP, mail: Mail, seconds: float) -> Outcome:
    try:
        answer = await client.data(mail.content, timeout=seconds)
    except SMTPDataError as error:
        return _refusal(error)
    except (SMTPException, OSError) as error:
        # The server may have taken it and lost its voice: nobody can know, so it must not be sent again.
        return Outcome("unknown", f"the answer to DATA was lost: {type(error).__name__}: {error}"[:500])
    return Outcome("sent", f"{answer.code} {answer.message}"[:500])


def _refusal(error: Exception) -> Outcome:
    """A refusal for good as an outcome; whatever may pass is raised."""
    words = f"{type(error).__name__}: {error}"[:500]
    if not isinstance(error, SMTPResponseException):
        raise MailServerUnavailable(f"mail server: {words}") from error
    words = f"{error.code} {error.message}"[:500]
    is_login = isinstance(error, aiosmtplib.SMTPAuthenticationError | aiosmtplib.SMTPConnectResponseError)
    if is_login or not 500 <= error.code < 600 or error.code in _NOT_THE_MAILS_FAULT:
        raise MailServerUnavailable(f"mail server: {words}") from error
    return Outcome("failed", words)


async def _leave(client: SMTP) -> None:
    try:
        async with asyncio.timeout(1.0):
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
