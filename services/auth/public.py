"""The routes that users call: register, log in, who am I; and the key set, which is for everybody."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response

from services.auth import handlers
from services.auth.accounts import Accounts
from services.auth.keyring import KeyRing
from services.auth.schemas import AccessToken, Account, Login, Registration, UserDetails
from services.auth.store import Store
from services.common.openapi import refusals
from services.common.peers import client_address
from services.common.settings import ServiceSettings
from services.common.strict import StrictRoute
from services.common.tokens import CurrentUser, InvalidTokenError


def router(accounts: Accounts, store: Store, keys: KeyRing, settings: ServiceSettings) -> APIRouter:
    """The public routes; the application's `state.verifier` checks the tokens."""
    routes = APIRouter(route_class=StrictRoute)

    @routes.post("/api/auth/register", status_code=201, responses=refusals(409, 429, 503))
    async def register(body: Registration, request: Request) -> Account:
        """Make an account."""
        password = body.password.get_secret_value()
        user = await accounts.register(
            email=body.email, password=password, zone=body.zone, peer=client_address(request, settings.app_api_token)
        )
        return Account.of(user)

    @routes.post("/api/auth/login", responses=refusals(401, 429, 503))
    async def log_in(body: Login, request: Request, response: Response) -> AccessToken:
        """Get an access token."""
        token = await accounts.log_in(
            email=body.email,
            password=body.password.get_secret_value(),
            peer=client_address(request, settings.app_api_token),
            issuer=settings.token_issuer,
            audience=settings.token_audience,
        )
        response.headers["cache-control"] = "no-store"
        return AccessToken(access_token=token, expires_in=int(handlers.TOKEN_LIFETIME.total_seconds()))

    @routes.get("/api/auth/me")
    async def me(caller: CurrentUser) -> UserDetails:
        """Read one's own account."""
        user = await store.by_id(caller.user_id)
        if user is None:
            raise InvalidTokenError
        return UserDetails.of(user)

    @routes.get("/.well-known/jwks.json", responses=refusals(503))
    async def jwks(response: Response) -> dict[str, Any]:
        """Read the keys that tokens are checked with (RFC 7517)."""
        response.headers["cache-control"] = "public, max-age=300"
        return handlers.jwks(await keys.keys())

    return routes
