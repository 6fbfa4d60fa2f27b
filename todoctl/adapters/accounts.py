"""Accounts as an operator changes them: the internal routes of auth, behind the platform's own token."""

from __future__ import annotations

from typing import Any, Literal
from urllib.parse import quote

import httpx

from todoctl.errors import TodoctlError

Role = Literal["user", "operator"]


class AccountError(TodoctlError):
    """auth did not answer, or refused; `status` is None where it did not answer."""

    def __init__(self, message: str, *, status: int | None = None, hint: str = "todoctl status") -> None:
        super().__init__(message, hint=hint)
        self.status = status


def set_role(
    auth: str, app_token: str, email: str, role: Role, *, transport: httpx.BaseTransport | None = None
) -> dict[str, Any]:
    """The user with this address in its new role: id, email, zone, role.

    Raises:
        AccountError: there is no such user, or auth did not do it.
    """
    url = f"{auth}/internal/users/by-email/{quote(email, safe='')}/role"
    try:
        with httpx.Client(timeout=10.0, trust_env=False, transport=transport) as client:
            answer = client.put(url, json={"role": role}, headers={"dapr-api-token": app_token})
    except httpx.HTTPError as error:
        raise AccountError(f"auth gave no answer: {type(error).__name__}: {error}") from error
    document = _document(answer)
    if answer.is_success and document:
        return document
    if answer.status_code == httpx.codes.NOT_FOUND and document.get("code") == "not_found":
        raise AccountError(
            f"no user has the address {email!r}", status=404, hint="the user registers first: todoctl open"
        )
    raise AccountError(f"auth answered {answer.status_code}: {_reason(document)}", status=answer.status_code)


def _document(answer: httpx.Response) -> dict[str, Any]:
    try:
        document = answer.json()
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _reason(problem: dict[str, Any]) -> str:
    fields = [f"{item.get('field')}: {item.get('message')}" for item in problem.get("errors", ())]
    return "; ".join(fields) or str(problem.get("detail") or problem.get("title") or "nothing that can be read")
