"""Roles through auth's internal route: what is asked, and what each answer becomes."""

from __future__ import annotations

import json
from collections.abc import Callable

import httpx
import pytest

from todoctl.adapters.accounts import AccountError, set_role

USER = {"id": 3, "email": "ann@example.org", "zone": "UTC", "role": "operator"}


def asked(answer: Callable[[httpx.Request], httpx.Response], email: str = "ann@example.org") -> dict[str, object]:
    """What `set_role` gives in front of an auth that is a function."""
    return set_role("http://auth", "app-token", email, "operator", transport=httpx.MockTransport(answer))


def test_the_role_is_put_with_the_platforms_token() -> None:
    """One request, with the token in its header and nothing secret in its address."""
    seen: list[httpx.Request] = []

    def auth(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json=USER)

    assert asked(auth, "a/b?c#d%e@example.org") == USER
    [request] = seen
    assert (request.method, request.headers["dapr-api-token"]) == ("PUT", "app-token")
    assert request.url.raw_path == b"/internal/users/by-email/a%2Fb%3Fc%23d%25e%40example.org/role"
    assert json.loads(request.content) == {"role": "operator"}


def problem(status: int, **fields: object) -> httpx.Response:
    """An answer as auth words it."""
    return httpx.Response(status, json={"status": status, **fields})


@pytest.mark.parametrize(
    ("answer", "status", "said"),
    [
        (problem(404, code="not_found"), 404, "no user has the address 'ann@example.org'"),
        (problem(401, code="unauthorized", detail="dapr-api-token is wrong"), 401, "answered 401: dapr-api-token"),
        (problem(422, errors=[{"field": "email", "message": "not an e-mail address"}]), 422, "email: not an e-mail"),
        (problem(503, title="Service Unavailable"), 503, "answered 503: Service Unavailable"),
        (httpx.Response(404, text="<html>"), 404, "answered 404: nothing that can be read"),
        (httpx.Response(200, text="<html>"), 200, "answered 200"),
        (httpx.Response(200, json=[]), 200, "answered 200"),
        (httpx.Response(502), 502, "answered 502"),
    ],
)
def test_another_answer_is_an_error(answer: httpx.Response, status: int, said: str) -> None:
    """The error has the status and the reason, never the token."""
    with pytest.raises(AccountError, match=said) as caught:
        asked(lambda _: answer)
    assert caught.value.status == status
    assert "app-token" not in str(caught.value)


def test_no_answer_is_an_error() -> None:
    """A connection that fails is told with its kind; there is no status."""

    def fail(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with pytest.raises(AccountError, match="auth gave no answer: ConnectError: refused") as caught:
        asked(fail)
    assert caught.value.status is None
