"""Access tokens: signed with Ed25519, verified here and nowhere else; see docs/decisions/0008-tokens.md.

A token that is wrong is a 401; a token that can't be judged, because auth is away, is a 503.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Protocol, Self

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from fastapi import Depends, Request
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase

from services.common.context import user_id
from services.common.problems import Problem
from services.common.settings import ServiceSettings

ALGORITHM = "EdDSA"
TOKEN_TYPE = "at+jwt"  # noqa: S105 - RFC 9068's media type
MAX_TOKEN = 4096
LEEWAY_SECONDS = 5  # for clocks that differ; a token is never accepted after its exp

_FORM = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_KEY_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_HEADER_FIELDS = frozenset({"alg", "typ", "kid"})
_MAX_ID = 2**63 - 1
_REMEMBERED = 2_000

Clock = Callable[[], datetime]


class InvalidTokenError(Problem):
    """The token proves nothing; why is told only as far as it helps an honest client."""

    def __init__(self, detail: str = "the access token is not valid") -> None:
        challenge = f'Bearer realm="todo", error="invalid_token", error_description="{detail}"'
        super().__init__(401, "invalid_token", detail, headers={"www-authenticate": challenge})


@dataclass(frozen=True)
class Principal:
    """Who a request is from, as a verified token says."""

    user_id: int
    role: str
    zone: str
    token_id: str
    expires_at: int

    @property
    def is_operator(self) -> bool:
        """Whether the user may see what belongs to others."""
        return self.role == "operator"


class Keys(Protocol):
    """Where public keys are looked up by their id."""

    async def get(self, key_id: str, /) -> Ed25519PublicKey | None:
        """The key, or None where there is no such key; Unavailable where that can't be told."""


@dataclass(frozen=True, slots=True)
class _Known:
    """A token whose signature was checked with this very key."""

    key_id: str
    key: Ed25519PublicKey
    claims: dict[str, Any]


class TokenVerifier:
    """Checks access tokens against the keys that auth publishes."""

    def __init__(self, keys: Keys, *, issuer: str, audience: str, clock: Clock) -> None:
        self._keys, self._issuer, self._audience, self._clock = keys, issuer, audience, clock
        # Only what a signature proves is remembered; the key, the times and the rest are looked at each time.
        self._known: dict[str, _Known] = {}

    @classmethod
    def of(cls, keys: Keys, settings: ServiceSettings, clock: Clock) -> Self:
        """A verifier of this deployment's tokens."""
        return cls(keys, issuer=settings.token_issuer, audience=settings.token_audience, clock=clock)

    async def verify(self, token: str) -> Principal:
        """Who `token` speaks for.

        Raises:
            InvalidTokenError: it is not a valid access token of ours.
            Unavailable: the keys to judge it can't be had now.
        """
        known = self._known.get(token)
        key_id = _key_id(token) if known is None else known.key_id
        key = await self._keys.get(key_id)
        if key is None:
            raise InvalidTokenError
        if known is None or known.key is not key:
            known = _Known(key_id, key, _claims(token, key))
            self._remember(token, known)
        return self._principal(known.claims)

    def _remember(self, token: str, known: _Known) -> None:
        self._known.pop(token, None)
        self._known[token] = known
        if len(self._known) > _REMEMBERED:
            del self._known[next(iter(self._known))]

    def _principal(self, claims: dict[str, Any]) -> Principal:
        now = self._clock().timestamp()
        issued, expires = _time(claims, "iat"), _time(claims, "exp")
        if expires <= now:
            raise InvalidTokenError("the access token has expired")
        starts = _time(claims, "nbf") if "nbf" in claims else issued
        if max(issued, starts) > now + LEEWAY_SECONDS:
            raise InvalidTokenError
        if claims.get("iss") != self._issuer or claims.get("aud") != self._audience:
            raise InvalidTokenError
        return Principal(
            user_id=_user(claims),
            role=_text(claims, "role"),
            zone=_text(claims, "zone"),
            token_id=_text(claims, "jti"),
            expires_at=expires,
        )


_SIGNATURE_ONLY: Any = {
    "verify_signature": True,
    **dict.fromkeys(
        ("verify_exp", "verify_nbf", "verify_iat", "verify_aud", "verify_iss", "verify_sub", "verify_jti"), False
    ),
}


def _claims(token: str, key: Ed25519PublicKey) -> dict[str, Any]:
    try:
        # Times and audience are checked elsewhere: against our clock, and stricter.
        return jwt.decode(token, key, algorithms=[ALGORITHM], options=_SIGNATURE_ONLY)
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise InvalidTokenError from error


def bearer(verifier: TokenVerifier) -> Callable[[Request], Awaitable[Principal]]:
    """A dependency that gives the request's principal; logs carry its user id from then on."""

    async def principal(request: Request) -> Principal:
        found = await verifier.verify(bearer_token(request))
        user_id.set(found.user_id)
        return found

    return principal


class _AccessToken(SecurityBase):
    """The principal of a request, and the scheme in the OpenAPI document."""

    scheme_name = "accessToken"
    model = HTTPBearer(bearerFormat="JWT", description="From POST /api/auth/login.")

    async def __call__(self, request: Request) -> Principal:
        verifier: TokenVerifier = request.app.state.verifier
        return await bearer(verifier)(request)


# For routes: `async def route(caller: CurrentUser)`; the application has `app.state.verifier`.
# At module level, because FastAPI can't resolve a postponed annotation that names a local variable.
CurrentUser = Annotated[Principal, Depends(_AccessToken())]


def bearer_token(request: Request) -> str:
    """The token of the one Authorization header.

    Raises:
        Problem: 401, there is none, or not exactly one.
    """
    given = request.headers.getlist("authorization")
    scheme, _, token = given[0].partition(" ") if len(given) == 1 else ("", "", "")
    if scheme.lower() != "bearer" or not token.strip():
        headers = {"www-authenticate": 'Bearer realm="todo"'}
        raise Problem(401, "unauthorized", "send Authorization: Bearer with an access token", headers=headers)
    return token.strip()


def _key_id(token: str) -> str:
    """The id of the key that the token claims; anything but our own form of header is refused unseen."""
    if len(token) > MAX_TOKEN or not _FORM.fullmatch(token):
        raise InvalidTokenError
    try:
        header = jwt.get_unverified_header(token)
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise InvalidTokenError from error
    # jwk, jku, x5u, x5c, crit: a token brings neither its own key nor rules that we don't know.
    if set(header) != _HEADER_FIELDS or header["alg"] != ALGORITHM or header["typ"] != TOKEN_TYPE:
        raise InvalidTokenError
    key_id = header["kid"]
    if not isinstance(key_id, str) or not _KEY_ID.fullmatch(key_id):
        raise InvalidTokenError
    return key_id


def _time(claims: dict[str, Any], name: str) -> int:
    value = claims.get(name)
    if type(value) is not int or not 0 <= value < 2**40:
        raise InvalidTokenError
    return value


def _text(claims: dict[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not 0 < len(value) <= 64:
        raise InvalidTokenError
    return value


def _user(claims: dict[str, Any]) -> int:
    subject = claims.get("sub")
    if not isinstance(subject, str) or not re.fullmatch(r"[1-9][0-9]{0,18}", subject) or int(subject) > _MAX_ID:
        raise InvalidTokenError
    return int(subject)
