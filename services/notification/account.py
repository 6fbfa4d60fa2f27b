"""The mail account that the secret `smtp` describes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from services.common.failures import Unavailable
from services.notification.mail import sender_domain

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
