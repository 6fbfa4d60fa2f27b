"""The platform's public API, as its users call it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx

from todoctl.errors import TodoctlError


class ApiError(TodoctlError):
    """The API did not answer, or answered with a problem; `status` is None where it did not answer."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message, hint="todoctl status")
        self.status = status


@dataclass(frozen=True)
class Addresses:
    """Where the public services answer."""

    auth: str
    api: str
    audit: str
    sync: str = ""


def answers(url: str) -> bool:
    """Whether a page answers, whatever it says."""
    try:
        return httpx.get(url, timeout=5.0, trust_env=False).status_code < 500
    except httpx.HTTPError:
        return False


class Api:
    """A client of the public API; one connection pool, one user at a time."""

    def __init__(self, addresses: Addresses, *, transport: httpx.BaseTransport | None = None) -> None:
        self._at = addresses
        self._client = httpx.Client(timeout=10.0, trust_env=False, transport=transport)
        self.token = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def register(self, email: str, password: str, *, zone: str = "UTC") -> dict[str, Any]:
        """Make an account."""
        return self._call(
            "POST", f"{self._at.auth}/api/auth/register", {"email": email, "password": password, "zone": zone}
        )

    def log_in(self, email: str, password: str) -> None:
        """Use this account's token from now on."""
        answer = self._call("POST", f"{self._at.auth}/api/auth/login", {"email": email, "password": password})
        self.token = str(answer["access_token"])
        self._client.headers["Authorization"] = f"Bearer {self.token}"

    def me(self) -> dict[str, Any]:
        """The account that is logged in: id, email, zone, role."""
        return self._call("GET", f"{self._at.auth}/api/auth/me")

    def create_task(self, task: Mapping[str, Any], *, correlation: str) -> dict[str, Any]:
        """Create a task."""
        return self._call("POST", f"{self._at.api}/api/tasks", dict(task), {"X-Request-ID": correlation})

    def complete_task(self, task_id: int, *, correlation: str) -> dict[str, Any]:
        """Complete a task."""
        return self._call("POST", f"{self._at.api}/api/tasks/{task_id}/complete", None, {"X-Request-ID": correlation})

    def delete_task(self, task_id: int) -> None:
        """Delete a task."""
        self._call("DELETE", f"{self._at.api}/api/tasks/{task_id}")

    def tasks(self) -> list[dict[str, Any]]:
        """The user's newest tasks, up to 200."""
        return list(self._call("GET", f"{self._at.api}/api/tasks?limit=200")["items"])

    def audit_logs(self, **filters: str) -> list[dict[str, Any]]:
        """Audit rows that the filters let through, up to 500."""
        return list(self._call("GET", f"{self._at.audit}/api/audit/logs", params={**filters, "limit": "500"})["items"])

    @property
    def sync_address(self) -> str:
        """Where sockets connect."""
        return self._at.sync

    def _call(
        self,
        method: str,
        url: str,
        body: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        try:
            answer = self._client.request(method, url, json=body, headers=headers, params=params)
        except httpx.HTTPError as error:
            raise ApiError(f"{method} {url} got no answer: {type(error).__name__}: {error}") from error
        document = _document(answer)
        if answer.is_success and document is not None:
            return document
        reason = answer.text[:200] if document is None else document.get("detail") or document.get("title")
        raise ApiError(f"{method} {url} answered {answer.status_code}: {reason}", status=answer.status_code)


def _document(answer: httpx.Response) -> dict[str, Any] | None:
    """The answer's JSON object, {} where it has no body; None where it is anything else."""
    try:
        document = answer.json() if answer.content else {}
    except ValueError:
        return None
    return document if isinstance(document, dict) else None
