"""The Dapr sidecar's HTTP API as this platform uses it: publish, invoke, state, secrets, health.

What the sidecar answers and what each answer means: docs/decisions/0002-dapr-components.md.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from json import dumps, loads
from typing import Any, Self
from urllib.parse import quote

import httpx

from services.common.failures import Refused, Unavailable
from services.common.failures import ServiceFailure as SidecarError
from services.common.settings import ServiceSettings
from services.common.sidecar_entries import CLOUD_EVENT, BulkEntry, StateWrite

__all__ = [
    "BulkEntry",
    "Refused",
    "Sidecar",
    "SidecarError",
    "SidecarUnavailable",
    "StateWrite",
    "Unavailable",
    "is_refusal",
]

_TIMEOUT = httpx.Timeout(10.0, connect=2.0)
_JSON = {"content-type": "application/json"}
# The broker's verdicts on an entry's own form; everything else that fails inside the sidecar is worth another try.
_REFUSALS = ("too large", "larger than", "err_pubsub_cloud_events_ser", "err_pubsub_events_ser")
_TAKEN = ("etag mismatch", "no item was updated")
_NOT_YET = ("ERR_PUBSUB_NOT_FOUND", "ERR_PUBSUB_NOT_CONFIGURED", "ERR_DIRECT_INVOKE")


class SidecarUnavailable(Unavailable):
    """The sidecar, or what lies behind it, does not answer for now."""


class Sidecar:
    """This process's sidecar; every failure is an `Unavailable` or a `Refused`."""

    def __init__(
        self,
        *,
        http_port: int,
        api_token: str,
        pubsub: str = "pubsub",
        state_store: str = "statestore",
        secret_store: str = "secretstore",  # noqa: S107 - the name of a component
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._pubsub, self._state_store, self._secret_store = pubsub, state_store, secret_store
        self._url, self._headers = f"http://127.0.0.1:{http_port}", {"dapr-api-token": api_token}
        # The transport alone: a client above it would look for proxies, cookies and redirects, at twice the time.
        self._transport = transport or httpx.AsyncHTTPTransport(
            limits=httpx.Limits(max_connections=100, max_keepalive_connections=20),
            # Never used, the sidecar speaks plain HTTP on loopback; without it a store of authorities would be loaded.
            verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            trust_env=False,
        )

    @classmethod
    def from_settings(cls, settings: ServiceSettings, *, transport: httpx.AsyncBaseTransport | None = None) -> Self:
        """The sidecar that the settings name."""
        return cls(
            http_port=settings.dapr_http_port,
            api_token=settings.dapr_api_token,
            pubsub=settings.pubsub_name,
            state_store=settings.state_store_name,
            secret_store=settings.secret_store_name,
            transport=transport,
        )

    async def aclose(self) -> None:
        """Close the connections to the sidecar."""
        await self._transport.aclose()

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Self]:
        """The sidecar for the length of a block; its connections are closed after it."""
        try:
            yield self
        finally:
            await self.aclose()

    async def publish(self, topic: str, envelope: Mapping[str, Any], *, key: str | None) -> None:
        """Publish one CloudEvents envelope; returns once the broker has it."""
        params = {} if key is None else {"metadata.partitionKey": key}
        path = f"/v1.0/publish/{quote(self._pubsub, safe='')}/{quote(topic, safe='')}"
        response = await self._call(
            "POST", path, params=params, content=_dump(envelope), headers={"content-type": CLOUD_EVENT}
        )
        _check(response, f"publish to {topic}")

    async def publish_bulk(self, topic: str, entries: Sequence[BulkEntry]) -> dict[str, str]:
        """Publish many envelopes; gives the error of each entry that failed, by its id.

        `is_refusal` tells the errors that no repetition helps.
        """
        if not entries:
            return {}
        path = f"/v1.0-alpha1/publish/bulk/{quote(self._pubsub, safe='')}/{quote(topic, safe='')}"
        response = await self._call("POST", path, content=_dump([entry.document for entry in entries]), json_body=True)
        failed = _error(response).get("failedEntries") if response.status_code == 500 else None
        if isinstance(failed, list) and failed:
            return {str(entry.get("entryId")): str(entry.get("error")) for entry in failed if isinstance(entry, dict)}
        _check(response, f"bulk publish to {topic}")
        return {}

    async def invoke(
        self,
        app_id: str,
        method: str,
        path: str,
        *,
        json: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 5.0,  # noqa: ASYNC109 - httpx bounds each phase; the caller may bound the whole
    ) -> httpx.Response:
        """Call another service; its own answers, errors too, are returned as they are.

        The body is `json`, or `content` as it is.

        Raises:
            SidecarUnavailable: the service, or the sidecar, can't be reached.
            Refused: the access rules forbid the call.
        """
        response = await self._call(
            method,
            f"/v1.0/invoke/{app_id}/method/{path.removeprefix('/')}",
            content=content if json is None else _dump(json),
            json_body=json is not None,
            headers=headers,
            timeout=httpx.Timeout(timeout, connect=min(timeout, 2.0)),
        )
        if _error(response).get("errorCode") == "ERR_DIRECT_INVOKE" or _token_refused(response):
            _check(response, f"call {app_id}")
        return response

    async def get_state(self, key: str) -> bytes | None:
        """The stored bytes of `key`, or None where there are none."""
        response = await self._call("GET", f"/v1.0/state/{quote(self._state_store)}/{quote(key, safe='')}")
        _check(response, f"read state {key}")
        return response.content if response.status_code == 200 else None

    async def save_state(self, key: str, value: Any) -> None:
        """Store `value` as JSON under `key`; the last write wins."""
        path = f"/v1.0/state/{quote(self._state_store)}"
        response = await self._call("POST", path, content=_dump([{"key": key, "value": value}]), json_body=True)
        _check(response, f"save state {key}")

    async def versioned_states(self, keys: Sequence[str]) -> dict[str, tuple[Any, str]]:
        """Of those keys that have a value, the stored JSON and its ETag."""
        path = f"/v1.0/state/{quote(self._state_store)}/bulk"
        response = await self._call("POST", path, content=_dump({"keys": list(keys)}), json_body=True)
        _check(response, "read states")
        found = loads(response.content)
        if failed := [entry for entry in found if entry.get("error")]:
            raise SidecarUnavailable(f"read state {failed[0]['key']}: {failed[0]['error']}")
        return {entry["key"]: (entry["data"], entry["etag"]) for entry in found if entry.get("etag")}

    async def write_states(self, writes: Sequence[StateWrite]) -> bool:
        """All of the writes in one transaction, or none; False where a key is not as one of them needs it.

        Those that need nothing are last writes. 1.16 answers 500 whatever is wrong, so its words decide.
        """
        # In one order for everybody, so that two transactions can't wait for each other.
        operations = [
            {"operation": "upsert", "request": write.document} for write in sorted(writes, key=lambda w: w.key)
        ]
        path = f"/v1.0/state/{quote(self._state_store)}/transaction"
        response = await self._call("POST", path, content=_dump({"operations": operations}), json_body=True)
        if not response.is_success and any(words in response.text for words in _TAKEN):
            return False
        _check(response, "write states")
        return True

    async def schedule_job(self, name: str, *, due: datetime, data: Any) -> None:
        """Have the scheduler call POST /job/{name} at `due`; a job of that name is replaced."""
        # 1.16 never delivers a job without data. A scheduler that is away would keep the call for 30 s.
        body = {"dueTime": due.astimezone(UTC).isoformat().replace("+00:00", "Z"), "data": data, "overwrite": True}
        path, limit = f"/v1.0-alpha1/jobs/{quote(name, safe='')}", httpx.Timeout(3.0, connect=1.0)
        _check(
            await self._call("POST", path, content=_dump(body), json_body=True, timeout=limit), f"schedule job {name}"
        )

    async def change_state(self, saved: Mapping[str, Any], deleted: Sequence[str], *, ttl_seconds: int) -> None:
        """Save keys that are gone again after `ttl_seconds`, and delete others, in one transaction."""
        lifetime = {"ttlInSeconds": str(ttl_seconds)}
        operations: list[dict[str, Any]] = [
            {"operation": "upsert", "request": {"key": key, "value": value, "metadata": lifetime}}
            for key, value in saved.items()
        ]
        operations += [{"operation": "delete", "request": {"key": key}} for key in deleted]
        path = f"/v1.0/state/{quote(self._state_store)}/transaction"
        response = await self._call("POST", path, content=_dump({"operations": operations}), json_body=True)
        _check(response, "change state")

    async def secret(self, name: str) -> dict[str, str]:
        """The fields of a secret; empty where it has none."""
        response = await self._call("GET", f"/v1.0/secrets/{quote(self._secret_store)}/{quote(name, safe='')}")
        _check(response, f"read secret {name}")
        return {str(key): str(value) for key, value in _error(response).items()}

    async def is_ready(self) -> bool:
        """Whether the sidecar's components are up; false where it can't be asked."""
        try:
            response = await self._call("GET", "/v1.0/healthz/outbound", timeout=httpx.Timeout(2.0))
        except Unavailable:
            return False
        return response.status_code == 204

    async def subscriptions(self) -> list[dict[str, Any]]:
        """The subscriptions that the sidecar has."""
        response = await self._call("GET", "/v1.0/metadata")
        _check(response, "read the sidecar's metadata")
        return list(_error(response).get("subscriptions") or [])

    async def _call(
        self,
        method: str,
        path: str,
        *,
        json_body: bool = False,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        timeout: httpx.Timeout = _TIMEOUT,  # noqa: ASYNC109 - the transport's own bounds on each phase
    ) -> httpx.Response:
        sent = {**self._headers, **(headers or {}), **(_JSON if json_body else {})}
        bounds = {"timeout": timeout.as_dict()}
        request = httpx.Request(
            method, self._url + path, params=params or None, content=content, headers=sent, extensions=bounds
        )
        try:
            response = await self._transport.handle_async_request(request)
            try:
                await response.aread()
            finally:
                await response.aclose()
        except httpx.HTTPError as error:
            raise SidecarUnavailable(f"sidecar: {type(error).__name__}: {error}") from error
        return response


def is_refusal(error: str) -> bool:
    """Whether the broker's words mean that this very entry will never be accepted."""
    text = error.lower()
    return any(words in text for words in _REFUSALS)


def _dump(value: Any) -> bytes:
    return dumps(value, separators=(",", ":"), allow_nan=False).encode()


def _error(response: httpx.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _token_refused(response: httpx.Response) -> bool:
    return response.status_code == 401 and response.text.strip() == "invalid api token"


def _check(response: httpx.Response, what: str) -> None:
    if response.is_success:
        return
    error = _error(response)
    code = str(error.get("errorCode", ""))
    words = f"{what}: HTTP {response.status_code} {code} {str(error.get('message') or response.text)[:500]}".strip()
    # A sidecar that has not loaded its components yet answers 4xx; an event must not be given up for that.
    passing = response.status_code >= 500 or code in _NOT_YET or _token_refused(response)
    if passing and response.status_code != 403 and not is_refusal(words):
        raise SidecarUnavailable(words)
    raise Refused(words)
