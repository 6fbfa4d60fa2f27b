"""The mail account that the secret `smtp` describes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from services.common.failures import Unavailable
from services.notification.mail import sender_domain

_TLS = ("none", "starttls", "tls")
# Providers allow ten to fifty for a client.
_CONNECTIONS, _MOST_CONNECTIONS = 20, 100


class MailServerUnavailable(Unavailable):
    """The mail server does not take mails for now."""


@dataclass(frozen=True)
class Account:
    """The mail server, how we log in there and on how many connections at most; secret parts don't show in its repr."""

    host: str
    port: int
    sender: str
    tls: str = "starttls"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    connections: int = _CONNECTIONS

    @classmethod
    def of(cls, secret: Mapping[str, str]) -> Self:
        """The account that the secret `smtp` describes.

        Raises:
            MailServerUnavailable: it is not whole; mails wait until it is.
        """
        tls = secret.get("tls", "starttls")
        try:
            sender_domain(secret.get("sender", ""))
            port, connections = int(secret.get("port", "")), int(secret.get("connections") or _CONNECTIONS)
        except (ValueError, IndexError) as error:
            raise MailServerUnavailable(
                f"the secret smtp needs a sender's address, a port, and connections as a number if at all: {error}"
            ) from error
        if not 0 < connections <= _MOST_CONNECTIONS:
            raise MailServerUnavailable(
                f"connections in the secret smtp: from 1 to {_MOST_CONNECTIONS}, not {connections}"
            )
        if tls not in _TLS or not secret.get("host"):
            raise MailServerUnavailable(f"the secret smtp needs a host, and tls as one of {', '.join(_TLS)}")
        return cls(
            host=secret["host"],
            port=port,
            sender=secret["sender"],
            tls=tls,
            username=secret.get("username") or None,
            password=secret.get("password") or None,
            connections=connections,
        )
