"""What a user can do with an account: make one, log in, look at it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter

from services.auth import handlers
from services.auth.keyring import KeyRing
from services.auth.models import User
from services.auth.passwords import Passwords
from services.auth.store import Store
from services.common.problems import Problem, too_many
from services.common.ratelimit import TokenBuckets

_TRIES = 10  # wrong passwords per address in a row; then one more every `_TRY_SECONDS`
_TRY_SECONDS = 6.0


class Accounts:
    """Registration and login, with limits on guessing."""

    def __init__(
        self,
        *,
        store: Store,
        keys: KeyRing,
        passwords: Passwords,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
        peers_per_second: float,
        registry: CollectorRegistry,
    ) -> None:
        self._store, self._keys, self._passwords, self._clock = store, keys, passwords, clock
        self._peers = TokenBuckets(rate=peers_per_second, burst=max(1, 2 * peers_per_second), monotonic=monotonic)
        rate = 1 / _TRY_SECONDS if peers_per_second else 0
        self._emails = TokenBuckets(rate=rate, burst=_TRIES, monotonic=monotonic)
        self._logins = Counter("auth_logins_total", "Logins by outcome.", ("outcome",), registry=registry)

    async def register(self, *, email: str, password: str, zone: str, peer: str) -> User:
        """A new user.

        Raises:
            Problem: 409, the address is taken; 429, too many requests from this peer.
        """
        self._limit_peer(peer)
        user = None
        # Looked up first, so that a taken address costs no hash.
        if await self._store.by_email(email) is None:
            password_hash = await self._passwords.hash(password)
            user = await self._store.add_user(email=email, password_hash=password_hash, zone=zone, now=self._clock())
        if user is None:
            raise Problem(409, "email_taken", "there is already a user with this e-mail address")
        return user

    async def log_in(self, *, email: str, password: str, peer: str, issuer: str, audience: str) -> str:
        """An access token for the user.

        Raises:
            Problem: 401, address and password don't belong together; 429, too many tries.
        """
        self._limit_peer(peer)
        # Taken before the check, so that tries at the same moment count too; given back where it was right.
        if wait := self._emails.take(email):
            self._logins.labels("limited").inc()
            raise too_many(wait)
        user = await self._store.by_email(email)
        if not await self._passwords.verify(password, user.password_hash if user else None) or user is None:
            self._logins.labels("refused").inc()
            detail = "e-mail address and password don't belong together"
            raise Problem(401, "wrong_credentials", detail, headers={"www-authenticate": 'Bearer realm="todo"'})
        self._emails.give_back(email)
        await self._strengthen(user, password)
        token = await self._token(user, issuer, audience)
        self._logins.labels("ok").inc()
        return token

    async def _strengthen(self, user: User, password: str) -> None:
        if self._passwords.needs_rehash(user.password_hash):
            await self._store.set_password_hash(user.id, await self._passwords.hash(password), self._clock())

    async def _token(self, user: User, issuer: str, audience: str) -> str:
        return handlers.access_token(
            await self._keys.signing(),
            user_id=user.id,
            role=user.role,
            zone=user.zone,
            issuer=issuer,
            audience=audience,
            now=self._clock(),
        )

    def _limit_peer(self, peer: str) -> None:
        if wait := self._peers.take(peer):
            self._logins.labels("limited").inc()
            raise too_many(wait)
