"""Users and signing keys in PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from services.auth.handlers import Key
from services.auth.models import SigningKey, User
from services.common.database import Database
from services.common.locks import Lock


@dataclass
class StoredKeys:
    """The keys while nobody else may change them."""

    session: AsyncSession
    keys: list[Key]

    def add(self, key: Key, now: datetime) -> None:
        """Store a new key."""
        self.session.add(SigningKey(kid=key.kid, private_key=key.secret, created_at=now, signs_from=key.signs_from))
        self.keys = [*self.keys, key]

    async def remove(self, keys: Sequence[Key]) -> None:
        """Forget keys for good."""
        gone = {key.kid for key in keys}
        if gone:
            await self.session.execute(delete(SigningKey).where(SigningKey.kid.in_(gone)))
        self.keys = [key for key in self.keys if key.kid not in gone]


class Store:
    """Every query that auth makes."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def by_email(self, email: str) -> User | None:
        """The user with this normalised address."""
        async with self._database.transaction() as session:
            return await session.scalar(select(User).where(User.email == email))

    async def by_id(self, user_id: int) -> User | None:
        """The user with this id."""
        async with self._database.transaction() as session:
            return await session.get(User, user_id)

    async def by_ids(self, ids: Sequence[int]) -> Sequence[User]:
        """Those of the users that there are."""
        async with self._database.transaction() as session:
            return (await session.scalars(select(User).where(User.id.in_(ids)))).all()

    async def add_user(self, *, email: str, password_hash: str, zone: str, now: datetime) -> User | None:
        """A new user, or None where the address is taken."""
        query = (
            insert(User)
            .values(email=email, password_hash=password_hash, zone=zone, role="user", created_at=now, updated_at=now)
            .on_conflict_do_nothing(index_elements=["email"])
            .returning(User)
        )
        async with self._database.transaction() as session:
            return (await session.scalars(query)).one_or_none()

    async def set_password_hash(self, user_id: int, password_hash: str, now: datetime) -> None:
        """Replace the hash of an unchanged password by a stronger one."""
        query = update(User).where(User.id == user_id).values(password_hash=password_hash, updated_at=now)
        async with self._database.transaction() as session:
            await session.execute(query)

    async def set_role(self, email: str, role: str, now: datetime) -> User | None:
        """The user with this address in its new role, or None where there is no such user."""
        query = update(User).where(User.email == email).values(role=role, updated_at=now).returning(User)
        async with self._database.transaction() as session:
            return (await session.scalars(query)).one_or_none()

    async def keys(self) -> list[Key]:
        """All signing keys."""
        async with self._database.transaction() as session:
            return await _keys(session)

    @asynccontextmanager
    async def locked_keys(self) -> AsyncIterator[StoredKeys]:
        """All signing keys, held against other replicas until the block ends."""
        async with self._database.transaction() as session:
            await session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": Lock.SIGNING_KEYS})
            yield StoredKeys(session, await _keys(session))


async def _keys(session: AsyncSession) -> list[Key]:
    rows = await session.scalars(select(SigningKey).order_by(SigningKey.signs_from))
    return [Key(row.kid, row.private_key, row.signs_from) for row in rows]
