"""The door for calls that only the sidecar, or another service through it, may make."""

from __future__ import annotations

import hmac

from fastapi import Request
from fastapi.openapi.models import APIKey, APIKeyIn
from fastapi.security.base import SecurityBase

from services.common.problems import Problem


class Guard(SecurityBase):
    """A dependency that lets in only requests with exactly one header `name`, equal to `token`.

    Raises:
        ValueError: the token is empty, which would let everybody in.
    """

    def __init__(self, name: str, token: str) -> None:
        if not token:
            raise ValueError(f"the token for {name} is empty")
        self._name, self._expected = name, token.encode()
        self.scheme_name = name
        self.model = APIKey(**{"in": APIKeyIn.header}, name=name, description="Only services of ours have it.")

    async def __call__(self, request: Request) -> None:
        """Refuse the request, or do nothing."""
        given = request.headers.getlist(self._name)
        if len(given) != 1 or not hmac.compare_digest(given[0].encode("latin-1"), self._expected):
            detail = f"{self._name} is missing or wrong"
            raise Problem(401, "unauthorized", detail, headers={"www-authenticate": self._name})


def require_app_token(token: str) -> Guard:
    """A dependency that lets in only requests whose `dapr-api-token` is `token`."""
    return require_header("dapr-api-token", token)


def require_header(name: str, token: str) -> Guard:
    """A dependency that lets in only requests with exactly one header `name`, equal to `token`."""
    return Guard(name, token)
