"""The public keys that tokens are checked with: fetched from auth, kept, and asked for again with restraint."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from services.common.failures import ServiceFailure, Unavailable
from services.common.sidecar import Sidecar

_log = logging.getLogger(__name__)

Clock = Callable[[], datetime]
Fetch = Callable[[], Awaitable[Mapping[str, Any]]]

FRESH = timedelta(minutes=5)  # after this a key set is asked for again
STALE = timedelta(hours=1)  # while auth is away, known keys serve this long: a token's own lifetime
UNKNOWN_KEY_PAUSE = timedelta(seconds=30)  # forged key ids cause no more than one call to auth in this time
FAILURE_PAUSE = timedelta(seconds=1)


class JwksCache:
    """Keys by id. A key is unknown only when auth itself said so lately; otherwise it can't be told."""

    def __init__(self, fetch: Fetch, clock: Clock) -> None:
        self._fetch, self._clock = fetch, clock
        self._keys: dict[str, Ed25519PublicKey] = {}
        self._fetched: datetime | None = None
        self._failed: datetime | None = None
        self._lock = asyncio.Lock()
        self._renewal: asyncio.Task[None] | None = None

    async def get(self, key_id: str) -> Ed25519PublicKey | None:
        """The key with this id, or None where auth has no such key.

        Raises:
            Unavailable: auth could not be asked, and what is known is too old to judge by.
        """
        known = self._keys.get(key_id)
        if known is not None and self._is_younger_than(STALE):
            # No request waits for auth as long as there is a key to judge by.
            if not self._is_younger_than(FRESH) and not self._lock.locked():
                self._renewal = asyncio.create_task(self._renew(FRESH))
            return known
        await self._renew(UNKNOWN_KEY_PAUSE)
        if self._is_younger_than(UNKNOWN_KEY_PAUSE):
            return self._keys.get(key_id)
        raise Unavailable("auth is away, so the access token can't be checked")

    async def missing(self) -> str | None:
        """For /readyz: until the keys were had once, no token can be judged; asks for them."""
        if self._fetched is None:
            await self._renew(FRESH)
        return None if self._fetched is not None else "auth's keys could not be fetched yet"

    async def _renew(self, enough: timedelta) -> None:
        # One call at a time: those who waited for it find its answer.
        async with self._lock:
            failed_lately = self._failed is not None and self._clock() - self._failed < FAILURE_PAUSE
            if failed_lately or self._is_younger_than(enough):
                return
            try:
                self._keys = public_keys(await self._fetch())
            except ServiceFailure as error:
                _log.warning("auth's keys could not be fetched: %s", error)
                self._failed = self._clock()
            else:
                self._fetched, self._failed = self._clock(), None

    def _is_younger_than(self, age: timedelta) -> bool:
        return self._fetched is not None and self._clock() - self._fetched < age


def jwks_through(sidecar: Sidecar) -> Fetch:
    """Fetches auth's key set by service invocation."""

    async def fetch() -> Mapping[str, Any]:
        response = await sidecar.invoke("auth", "GET", "/.well-known/jwks.json", timeout=3.0)
        if response.status_code != 200:
            raise Unavailable(f"auth answered {response.status_code} when asked for its keys")
        try:
            body = response.json()
        except ValueError as error:
            raise Unavailable("auth's key set is not JSON") from error
        if not isinstance(body, dict) or not public_keys(body):
            raise Unavailable("auth's key set has no usable key")
        return body

    return fetch


def public_keys(jwks: Mapping[str, Any]) -> dict[str, Ed25519PublicKey]:
    """The Ed25519 signature keys of a key set, by id; every other kind of key is left out."""
    found = {}
    for entry in jwks.get("keys") or ():
        if not isinstance(entry, dict) or (entry.get("kty"), entry.get("crv")) != ("OKP", "Ed25519"):
            continue
        if entry.get("use", "sig") != "sig" or entry.get("alg", "EdDSA") != "EdDSA" or "kid" not in entry:
            continue
        try:
            key = jwt.PyJWK(entry, algorithm="EdDSA").key
        except jwt.PyJWTError:
            continue
        if isinstance(key, Ed25519PublicKey):
            found[str(entry["kid"])] = key
    return found
