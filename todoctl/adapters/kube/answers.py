"""What a cluster's answers mean: refusals, silence, and words that no API server would say."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

import httpx

from todoctl.adapters.kube.access import Access
from todoctl.errors import MissingError, TodoctlError, UnhealthyError


class KubeError(TodoctlError):
    """The server refused; `status` is its HTTP status."""

    def __init__(self, message: str, *, status: int, hint: str = "", detail: tuple[str, ...] = ()) -> None:
        super().__init__(message, hint=hint, detail=detail)
        self.status = status


class ForbiddenError(MissingError):
    """The server does not know us, or does not let us."""


class UnreachableError(UnhealthyError):
    """The server does not answer."""


def check(access: Access, status: int, text: str) -> None:
    """Return when the server did what was asked.

    Raises:
        ForbiddenError: it does not know us, or does not let us.
        KubeError: it refused for another reason.
    """
    if httpx.codes.is_success(status) or status == httpx.codes.SWITCHING_PROTOCOLS:
        return
    reason = _reason(status, text)
    if status == httpx.codes.UNAUTHORIZED:
        raise ForbiddenError(
            f"the cluster of context {access.context!r} does not know who you are: {reason}",
            hint="log in to the cluster's provider; then kubectl auth whoami",
        )
    # Admission answers 403, too; who lacks a right "cannot" do something.
    if status == httpx.codes.FORBIDDEN and "cannot" in reason:
        raise ForbiddenError(
            f"the cluster of context {access.context!r} does not allow it: {reason}",
            hint="kubectl auth can-i --list",
        )
    raise KubeError(f"Kubernetes: {reason}", status=status, hint="todoctl doctor")


def unreachable(access: Access, error: Exception) -> UnreachableError:
    """What to raise when the server does not answer."""
    late = isinstance(error, httpx.ReadTimeout)
    return _away(access, "it takes connections and does not answer" if late else f"{type(error).__name__}: {error}")


def no_cluster(access: Access, said: str) -> UnreachableError:
    """What to raise when something answers that can't be a cluster's API server."""
    return _away(access, f"what answers there is no API server of Kubernetes: {_line(said)}")


def _away(access: Access, reason: str) -> UnreachableError:
    # Its host alone: a proxy's URL may hold a password.
    proxy = f" by the proxy {urlsplit(access.proxy).hostname}" if access.proxy else ""
    return UnreachableError(
        f"the cluster of context {access.context!r} ({access.server}) can't be reached{proxy}: {reason}",
        hint="kubectl version; todoctl env show",
    )


def document(text: str) -> dict[str, Any] | None:
    """The JSON object that an answer is, None where it is something else."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _reason(status: int, text: str) -> str:
    said = (document(text) or {}).get("message")
    return str(said) if said else _line(f"{status} {text}")


def _line(text: str) -> str:
    """The beginning of what may be a page, in one line."""
    return " ".join(text[:200].split())
