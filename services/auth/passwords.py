"""Password hashes with argon2id: off the event loop, a few at a time, and never a hint whether a user exists."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from services.common.failures import Unavailable

T = TypeVar("T")

_QUEUE = 100  # beyond this a caller would wait for seconds, so it is told to come back


class Passwords:
    """Makes and checks hashes, at most `workers` at once: each takes 19 MiB and a processor's full attention.

    Source: OWASP Password Storage Cheat Sheet, argon2id with m=19456, t=2, p=1.
    """

    def __init__(self, hasher: PasswordHasher | None = None, *, workers: int = 2) -> None:
        self._hasher = hasher or PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="argon2")
        self._waiting = 0
        # For users that don't exist: checking against it takes as long as against a real one.
        self._nobody = self._hasher.hash("nobody has this password")

    async def hash(self, password: str) -> str:
        """The hash of a password, with its salt and parameters."""
        return await self._run(lambda: self._hasher.hash(password))

    async def verify(self, password: str, stored: str | None) -> bool:
        """Whether `password` belongs to the hash; with None it takes as long, and it is False."""
        matches = await self._run(lambda: self._matches(password, stored or self._nobody))
        return matches and stored is not None

    def needs_rehash(self, stored: str) -> bool:
        """Whether the hash was made with parameters that are no longer ours."""
        return self._hasher.check_needs_rehash(stored)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _matches(self, password: str, stored: str) -> bool:
        try:
            return self._hasher.verify(stored, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, work: Callable[[], T]) -> T:
        if self._waiting >= _QUEUE:
            raise Unavailable("too many logins at once")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._waiting -= 1
