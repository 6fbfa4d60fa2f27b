"""The failures that services tell apart: a dependency is away (try again), or it refused (never will).

ServiceFailure
├── Unavailable            the same call may succeed later -> 503, or RETRY for an event
│   ├── DatabaseUnavailable    services.common.database
│   └── SidecarUnavailable     services.common.sidecar
└── Refused                the same call never succeeds: not in scope, too large, malformed
"""

from __future__ import annotations


class ServiceFailure(Exception):  # noqa: N818 - the names say what happened; handlers read as sentences
    """Something outside this process did not do what was asked."""

    def __init__(self, message: str, *, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unavailable(ServiceFailure):
    """A dependency is away for now; the same call may succeed later."""


class Refused(ServiceFailure):
    """A dependency understood the call and will never accept it."""
