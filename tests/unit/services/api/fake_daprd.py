"""A sidecar with a broker and an auth service behind it: it keeps what is published, and fails as it is told."""

from __future__ import annotations

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import OKPAlgorithm

from services.common.sidecar import Sidecar
from tests.unit.services.fake_broker import FakeClock

Refusal = Callable[[str, dict[str, Any]], str | None]


def nothing_refused(_topic: str, _envelope: dict[str, Any]) -> str | None:
    """No entry fails."""
    return None


@dataclass
class Record:
    """One record that the broker took."""

    topic: str
    key: str
    envelope: dict[str, Any]

    @property
    def data(self) -> dict[str, Any]:
        """What the envelope carries."""
        data: dict[str, Any] = self.envelope["data"]
        return data

    @property
    def event_id(self) -> str:
        """The event's id."""
        return str(self.envelope["id"])


@dataclass
class FakeDaprd:
    """Give it to a Sidecar as its transport.

    `away` drops connections; `failing` names why an entry fails for now, `refusing` why for good; `hold`, when set,
    makes publishing wait. `overlaps` counts entries that were on their way while another of their lane was.
    """

    clock: FakeClock
    away: bool = False
    forbidden: bool = False
    failing: Refusal = nothing_refused
    refusing: Refusal = nothing_refused
    hold: asyncio.Event | None = None
    scheduler_away: bool = False
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    largest_bulk: int = 0
    overlaps: int = 0
    waiting: int = 0
    _flying: set[tuple[str, str]] = field(default_factory=set)
    _key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    def sidecar(self) -> Sidecar:
        """A client of this sidecar."""
        return Sidecar(http_port=3500, api_token="dapr-token", transport=httpx.MockTransport(self._answer))

    def token(self, user_id: int, *, zone: str = "Europe/Berlin", role: str = "user") -> str:
        """An access token for a user."""
        now = self.clock()
        claims = {
            "iss": "todo-auth",
            "aud": "todo",
            "sub": str(user_id),
            "iat": int(now.timestamp()),
            "exp": int((now + timedelta(hours=1)).timestamp()),
            "jti": uuid4().hex,
            "role": role,
            "zone": zone,
        }
        return jwt.encode(claims, self._key, algorithm="EdDSA", headers={"typ": "at+jwt", "kid": "k1"})

    def on(self, topic: str) -> list[Record]:
        """The records of a topic, oldest first."""
        return [record for record in self.records if record.topic == topic]

    def by_lane(self) -> dict[tuple[str, str], list[int]]:
        """The user_seq values per (key, topic), in the order in which the broker took them."""
        lanes: dict[tuple[str, str], list[int]] = defaultdict(list)
        for record in self.records:
            if record.topic != "dlq-events":
                lanes[record.key, record.topic].append(record.data["user_seq"])
        return lanes

    async def _answer(self, request: httpx.Request) -> httpx.Response:  # noqa: PLR0911 - one per route
        path = request.url.path
        self.calls[path] += 1
        if self.away:
            raise httpx.ConnectError("connection refused", request=request)
        assert request.headers["dapr-api-token"] == "dapr-token"
        if path == "/v1.0/healthz/outbound":
            return httpx.Response(204)
        if path == "/v1.0/invoke/auth/method/.well-known/jwks.json":
            return httpx.Response(200, json={"keys": [self._jwk()]})
        if path.startswith("/v1.0-alpha1/jobs/"):
            return await self._job(path.rpartition("/")[2], json.loads(request.content))
        topic = path.rpartition("/")[2]
        if self.forbidden and topic != "dlq-events":
            return httpx.Response(403, json={"errorCode": "ERR_PUBSUB_FORBIDDEN", "message": "not in scope"})
        if path.startswith("/v1.0-alpha1/publish/bulk/pubsub/"):
            return await self._bulk(topic, json.loads(request.content))
        if path.startswith("/v1.0/publish/pubsub/"):
            return await self._single(topic, request)
        return httpx.Response(404, json={"errorCode": "ERR_DIRECT_INVOKE", "message": "no such route"})

    async def _job(self, name: str, job: dict[str, Any]) -> httpx.Response:
        if self.scheduler_away:
            # The real one waits for its scheduler; the client gives up.
            await asyncio.sleep(0)
            return httpx.Response(500, json={"errorCode": "DAPR_SCHEDULER_SCHEDULE_JOB", "message": "unavailable"})
        assert set(job) == {"dueTime", "data", "overwrite"}
        self.jobs[name] = job
        return httpx.Response(204)

    async def _bulk(self, topic: str, entries: list[dict[str, Any]]) -> httpx.Response:
        self.largest_bulk = max(self.largest_bulk, len(entries))
        lanes = [(topic, entry["metadata"]["partitionKey"]) for entry in entries]
        await self._fly(lanes)
        failed = [
            {"entryId": entry["entryId"], "error": words}
            for entry in entries
            if (words := self._take(topic, entry["metadata"]["partitionKey"], entry["event"]))
        ]
        if not failed:
            return httpx.Response(204)
        return httpx.Response(500, json={"failedEntries": failed, "errorCode": "ERR_PUBSUB_PUBLISH_MESSAGE"})

    async def _single(self, topic: str, request: httpx.Request) -> httpx.Response:
        key = request.url.params["metadata.partitionKey"]
        await self._fly([(topic, key)])
        if words := self._take(topic, key, json.loads(request.content)):
            return httpx.Response(500, json={"errorCode": "ERR_PUBSUB_PUBLISH_MESSAGE", "message": words})
        return httpx.Response(204)

    async def _fly(self, lanes: list[tuple[str, str]]) -> None:
        self.overlaps += sum(lane in self._flying for lane in lanes) + len(lanes) - len(set(lanes))
        self._flying.update(lanes)
        self.waiting += 1
        try:
            await asyncio.sleep(0)
            if self.hold is not None:
                await self.hold.wait()
        finally:
            self.waiting -= 1
            self._flying.difference_update(lanes)

    def _take(self, topic: str, key: str, envelope: dict[str, Any]) -> str | None:
        words = self.refusing(topic, envelope) or self.failing(topic, envelope)
        if words is None:
            self.records.append(Record(topic, key, envelope))
        return words

    def _jwk(self) -> dict[str, Any]:
        jwk: dict[str, Any] = OKPAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        return {**jwk, "kid": "k1", "alg": "EdDSA", "use": "sig"}
