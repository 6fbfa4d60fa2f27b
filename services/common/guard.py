"""The door for calls that only the sidecar, or another service through it, may make."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable

from fastapi import Request

from services.common.problems import Problem

Guard = Callable[[Request], Awaitable[None]]


def require_app_token(token: str) -> Guard:
    """A dependency that lets in only requests whose `dapr-api-token` is `token`."""
    return require_header("dapr-api-token", token)


def require_header(name: str, token: str) -> Guard:
    """A dependency that lets in only requests with exactly one header `name`, equal to `token`.

    Raises:
        ValueError: the token is empty, which would let everybody in.
    """
    if not token:
        raise ValueError(f"the token for {name} is empty")
    expected = token.encode()

    async def check(request: Request) -> None:
        given = request.headers.getlist(name)
        if len(given) != 1 or not hmac.compare_digest(given[0].encode("latin-1"), expected):
            raise Problem(401, "unauthorized", f"{name} is missing or wrong", headers={"www-authenticate": name})

    return check
