"""daprd and the services over HTTP, as their operator sees them: health, metadata, readiness."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from todoctl.errors import TodoctlError


class EndpointError(TodoctlError):
    """An endpoint did not answer, or not as it should."""


def sidecar_is_ready(port: int, app_id: str) -> str | None:
    """None when the sidecar's components are open and it is `app_id`'s; otherwise what is missing."""
    with _client() as client:
        try:
            answer = client.get(f"http://127.0.0.1:{port}/v1.0/healthz/outbound", params={"appid": app_id})
        except httpx.HTTPError as error:
            return f"no answer on port {port}: {type(error).__name__}"
    return None if answer.status_code == httpx.codes.NO_CONTENT else f"healthz/outbound says {answer.status_code}"


def runtime_version(port: int, token: str) -> str | None:
    """The version that the running sidecar says it has; None while it doesn't answer."""
    with _client() as client:
        try:
            answer = client.get(f"http://127.0.0.1:{port}/v1.0/metadata", headers={"dapr-api-token": token})
            answer.raise_for_status()
            return str(answer.json()["runtimeVersion"])
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            return None


def stored(port: int, token: str, store: str, key: str) -> dict[str, Any] | None:
    """What the sidecar's app has in its state under `key`; None where there is nothing.

    Raises:
        EndpointError: no answer, or none that is a JSON object.
    """
    with _client() as client:
        try:
            answer = client.get(f"http://127.0.0.1:{port}/v1.0/state/{store}/{key}", headers={"dapr-api-token": token})
            answer.raise_for_status()
            return dict(answer.json()) if answer.content else None
        except (httpx.HTTPError, ValueError, TypeError) as error:
            raise EndpointError(f"the sidecar on port {port} did not tell its state: {error}") from error


def takes_calls(port: int, token: str, app_id: str) -> bool:
    """Whether the sidecar passes calls on to its own app: not while the app's health says that it takes no work."""
    url = f"http://127.0.0.1:{port}/v1.0/invoke/{app_id}/method/healthz"
    with _client() as client:
        try:
            return client.get(url, headers={"dapr-api-token": token}).is_success
        except httpx.HTTPError:
            return False


def answers(url: str) -> str | None:
    """None when `url` answers with 2xx; otherwise what it said."""
    with _client() as client:
        try:
            answer = client.get(url)
        except httpx.HTTPError as error:
            return f"no answer: {type(error).__name__}"
    return None if answer.is_success else f"{answer.status_code}: {_reason(answer)}"


def _reason(answer: httpx.Response) -> str:
    """The part of a problem document that says why."""
    try:
        body = answer.json()
    except ValueError:
        return answer.text[:200]
    return str(body.get("detail") or body.get("title") or body)[:300] if isinstance(body, dict) else str(body)[:300]


@contextmanager
def _client() -> Iterator[httpx.Client]:
    # No proxy from the environment: these addresses are on this machine.
    with httpx.Client(timeout=2.0, trust_env=False) as client:
        yield client
