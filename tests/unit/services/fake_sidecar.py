"""A sidecar that behaves as Dapr 1.16 does over HTTP, as far as the services use it, with everything in memory.

    fake = FakeSidecar(topics={"task-events"}, apps={"auth": auth_app})
    sidecar = Sidecar(http_port=1, api_token=fake.token, transport=fake.transport)

`fake.records` has what was published, `fake.state` what was saved, `fake.calls` every request that came.
`fake.away = True` makes it unreachable; `fake.broker_away = True` only what lies behind it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import httpx

_MAX_RECORD = 2_097_152


@dataclass(frozen=True)
class Record:
    """What lies on a topic: its key and the envelope."""

    topic: str
    key: str | None
    envelope: dict[str, Any]


@dataclass
class FakeSidecar:
    """The state of one sidecar and of the broker behind it."""

    topics: set[str] = field(default_factory=set)
    apps: Mapping[str, Any] = field(default_factory=dict)
    token: str = "dapr-token"
    app_token: str = "app-token"
    away: bool = False
    broker_away: bool = False
    loaded: bool = True
    records: list[Record] = field(default_factory=list)
    state: dict[str, bytes] = field(default_factory=dict)
    state_away: bool = False
    etags: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, dict[str, str]] = field(default_factory=dict)
    calls: list[httpx.Request] = field(default_factory=list)

    @property
    def transport(self) -> httpx.MockTransport:
        """The transport to hand to a `Sidecar`."""
        return httpx.MockTransport(self._answer)

    async def _answer(self, request: httpx.Request) -> httpx.Response:  # noqa: C901, PLR0911 - one per route
        self.calls.append(request)
        if self.away:
            raise httpx.ConnectError("connection refused", request=request)
        parts = request.url.path.strip("/").split("/")
        if parts[:2] == ["v1.0", "healthz"]:
            return httpx.Response(204 if self.loaded else 500)
        if request.headers.get("dapr-api-token") != self.token:
            return httpx.Response(401, text="invalid api token")
        match parts:
            case ["v1.0", "publish", pubsub, topic]:
                return self._publish(pubsub, topic, request)
            case ["v1.0-alpha1", "publish", "bulk", pubsub, topic]:
                return self._publish_bulk(pubsub, topic, request)
            case ["v1.0", "invoke", app, "method", *path]:
                return await self._invoke(app, "/".join(path), request)
            case ["v1.0", "state", _, "transaction"]:
                return self._change_state(request)
            case ["v1.0", "state", _, "bulk"]:
                return self._read_states(request)
            case ["v1.0", "state", _, *key]:
                return self._state(key, request)
            case ["v1.0", "secrets", _, name]:
                found = self.secrets.get(name)
                return _error(500, "ERR_SECRET_GET", "not found") if found is None else httpx.Response(200, json=found)
            case ["v1.0-alpha1", "jobs", _]:
                return httpx.Response(204)
            case ["v1.0", "metadata"]:
                return httpx.Response(200, json={"subscriptions": [{"topic": topic} for topic in self.topics]})
        return _error(404, "ERR_DIRECT_INVOKE", "failed getting app id")

    def _publish(self, pubsub: str, topic: str, request: httpx.Request) -> httpx.Response:
        if (refusal := self._refusal(pubsub, topic)) is not None:
            return refusal
        if request.headers["content-type"] != "application/cloudevents+json":
            return _error(500, "ERR_PUBSUB_CLOUD_EVENTS_SER", "not a cloud event")
        if (words := self._broker_says(request.content)) is not None:
            return _error(500, "ERR_PUBSUB_PUBLISH_MESSAGE", words)
        key = request.url.params.get("metadata.partitionKey")
        self.records.append(Record(topic, key, json.loads(request.content)))
        return httpx.Response(204)

    def _publish_bulk(self, pubsub: str, topic: str, request: httpx.Request) -> httpx.Response:
        if (refusal := self._refusal(pubsub, topic)) is not None:
            return refusal
        failed = []
        for entry in json.loads(request.content):
            words = self._broker_says(json.dumps(entry["event"]).encode())
            if words is None:
                self.records.append(Record(topic, entry["metadata"].get("partitionKey"), entry["event"]))
            else:
                failed.append({"entryId": entry["entryId"], "error": words})
        if not failed:
            return httpx.Response(204)
        return httpx.Response(500, json={"failedEntries": failed, "errorCode": "ERR_PUBSUB_PUBLISH_MESSAGE"})

    def _refusal(self, pubsub: str, topic: str) -> httpx.Response | None:
        if not self.loaded or pubsub != "pubsub":
            return _error(404, "ERR_PUBSUB_NOT_FOUND", f"pubsub {pubsub} is not found")
        if topic not in self.topics:
            return _error(403, "ERR_PUBSUB_FORBIDDEN", f"topic {topic} is not allowed for app id api")
        return None

    def _broker_says(self, value: bytes) -> str | None:
        if self.broker_away:
            return "kafka: client has run out of available brokers to talk to"
        if len(value) > _MAX_RECORD:
            return "kafka server: Message was too large, server rejected it to avoid allocation error"
        return None

    async def _invoke(self, app: str, path: str, request: httpx.Request) -> httpx.Response:
        if app not in self.apps:
            return _error(500, "ERR_DIRECT_INVOKE", f"failed to invoke, id: {app}, err: couldn't find service: {app}")
        headers = {**request.headers, "dapr-api-token": self.app_token, "host": "app"}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self.apps[app]), base_url="http://app") as client:
            query = {"params": request.url.params} if request.url.query else {}
            return await client.request(request.method, f"/{path}", content=request.content, headers=headers, **query)

    def _state(self, key: list[str], request: httpx.Request) -> httpx.Response:
        if self.state_away:
            return _error(500, "ERR_STATE_GET", "failed to connect to the database")
        if request.method == "GET":
            name = "/".join(key)
            if name not in self.state:
                return httpx.Response(204)
            return httpx.Response(200, content=self.state[name], headers={"etag": self.etags.get(name, "")})
        entries = json.loads(request.content)
        if not isinstance(entries, list):
            return _error(400, "ERR_MALFORMED_REQUEST", "not a list")
        for entry in entries:
            if (refusal := self._taken(entry)) is not None:
                return refusal
            self.state[entry["key"]] = json.dumps(entry["value"]).encode()
            self.etags[entry["key"]] = str(uuid4())
        return httpx.Response(204)

    def _taken(self, entry: dict[str, Any]) -> httpx.Response | None:
        """As PostgreSQL's component answers (seen with 1.16.0): 409 for an old ETag, 500 where the key is taken."""
        is_first = entry.get("options", {}).get("concurrency") == "first-write"
        if "etag" in entry and self.etags.get(entry["key"]) != entry["etag"]:
            return _error(409, "ERR_STATE_SAVE", "possible etag mismatch. error from state store")
        if is_first and "etag" not in entry and entry["key"] in self.state:
            return _error(500, "ERR_STATE_SAVE", "failed saving state in state store statestore: no item was updated")
        return None

    def _read_states(self, request: httpx.Request) -> httpx.Response:
        if self.state_away:
            return _error(500, "ERR_STATE_BULK_GET", "failed to connect to the database")
        keys = json.loads(request.content)["keys"]
        found = [
            {"key": key, "data": json.loads(self.state[key]), "etag": self.etags.get(key, "")}
            if key in self.state
            else {"key": key}
            for key in keys
        ]
        return httpx.Response(200, json=found)

    def _change_state(self, request: httpx.Request) -> httpx.Response:
        if self.state_away:
            return _error(500, "ERR_STATE_TRANSACTION", "failed to connect to the database")
        operations = json.loads(request.content)["operations"]
        for operation in operations:
            if operation["operation"] == "upsert" and (refusal := self._taken(operation["request"])) is not None:
                # Whatever is wrong, a transaction is a 500 (seen with 1.16.0), and nothing of it is stored.
                return _error(500, "ERR_STATE_TRANSACTION", refusal.json()["message"])
        for operation in operations:
            wanted = operation["request"]
            if operation["operation"] == "delete":
                self.state.pop(wanted["key"], None)
            else:
                self.state[wanted["key"]] = json.dumps(wanted["value"]).encode()
                self.etags[wanted["key"]] = str(uuid4())
        return httpx.Response(204)


def raw_delivery(record: Record) -> dict[str, Any]:
    """The body with which a raw subscription delivers a record."""
    value = json.dumps(record.envelope).encode()
    return {"id": "0", "topic": record.topic, "data_base64": base64.b64encode(value).decode()}


def _error(status: int, code: str, message: str) -> httpx.Response:
    return httpx.Response(status, json={"errorCode": code, "message": message})
