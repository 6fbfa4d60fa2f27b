"""What sync alone needs to know: whose pages may connect, which replica this is, and the limits."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from services.common.settings import SettingsError, number

_ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:[0-9]{1,5})?|https?://\[[0-9a-f:]+\](:[0-9]{1,5})?")


@dataclass(frozen=True)
class SyncSettings:
    """Seconds, bytes and counts; `origins` is never empty, for the library takes an empty list for "anybody"."""

    origins: tuple[str, ...]
    replica: str = "sync-0"
    sockets_per_user: int = 20
    message_bytes: int = 16 * 1024
    messages_per_second: float = 10.0
    sockets: int = 10_000
    queue: int = 1000
    ping_interval: float = 10.0
    ping_timeout: float = 5.0
    compare_seconds: float = 3.0
    login_seconds: float = 10.0

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """The settings that `environ` holds.

        Raises:
            SettingsError: no origin is allowed, or a setting is malformed.
        """
        origins = tuple(origin.strip() for origin in environ.get("ALLOWED_ORIGINS", "").split(",") if origin.strip())
        if not origins:
            raise SettingsError("missing in the environment: ALLOWED_ORIGINS")
        if wrong := [origin for origin in origins if not _ORIGIN.fullmatch(origin)]:
            raise SettingsError(f"ALLOWED_ORIGINS: not an origin (scheme://host:port): {', '.join(wrong)[:200]}")
        return cls(
            origins=origins,
            replica=environ.get("POD_NAME") or cls.replica,
            sockets_per_user=int(number(environ, "SOCKETS_PER_USER", cls.sockets_per_user)),
            sockets=int(number(environ, "SOCKETS", cls.sockets)),
            messages_per_second=number(environ, "MESSAGES_PER_SECOND", cls.messages_per_second),
        )
