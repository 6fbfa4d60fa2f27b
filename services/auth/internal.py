"""The routes that only other services and operators reach, through the sidecar: user details, roles, key rotation."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path

from services.auth.handlers import normalise_email
from services.auth.keyring import KeyRing
from services.auth.models import User
from services.auth.schemas import FoundUsers, RoleChange, UserDetails, UserId, UserIds
from services.auth.store import Store
from services.common.guard import Guard
from services.common.openapi import refusals
from services.common.problems import Problem, field_problem


def router(store: Store, keys: KeyRing, clock: Callable[[], datetime], guard: Guard) -> APIRouter:
    """The internal routes, all behind `guard`."""
    routes = APIRouter(prefix="/internal", dependencies=[Depends(guard)])

    @routes.get("/users/{user_id}", responses=refusals(404))
    async def user_details(user_id: Annotated[UserId, Path()]) -> UserDetails:
        """Read a user's account."""
        return UserDetails.of(_found(await store.by_id(user_id)))

    @routes.post("/user-lookups")
    async def look_up(body: UserIds) -> FoundUsers:
        """Read the accounts of many users; one that there is not is left out."""
        return FoundUsers(users=[UserDetails.of(user) for user in await store.by_ids(body.ids)])

    @routes.put("/users/by-email/{email:path}/role", responses=refusals(404))
    async def set_role(email: str, body: RoleChange) -> UserDetails:
        """Give a user a role."""
        try:
            address = normalise_email(email)
        except ValueError as error:
            raise field_problem("email", str(error)) from error
        return UserDetails.of(_found(await store.set_role(address, body.role, clock())))

    @routes.post("/keys/rotate")
    async def rotate() -> dict[str, Any]:
        """Begin with a new signing key."""
        key = await keys.rotate()
        return {"kid": key.kid, "signs_from": key.signs_from.isoformat()}

    return routes


def _found(user: User | None) -> User:
    if user is None:
        raise Problem(404, "not_found", "there is no such user")
    return user
