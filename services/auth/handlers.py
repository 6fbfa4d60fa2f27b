"""The decisions of auth, without any input or output: which key signs, which are shown, what a token says."""

from __future__ import annotations

import hashlib
import json
import re
from base64 import urlsafe_b64encode
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from services.common.tokens import ALGORITHM, TOKEN_TYPE

TOKEN_LIFETIME = timedelta(hours=1)
# Longer than any verifier keeps a key set unasked, so a new key is known everywhere before it signs.
PUBLISH_LEAD = timedelta(minutes=10)
ROTATE_AFTER = timedelta(days=30)
_GRACE = timedelta(minutes=5)

# ASCII only: no two addresses that look alike. What really decides is whether mail arrives.
_LABEL = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
_EMAIL = re.compile(rf"[a-z0-9.!#$%&'*+/=?^_`{{|}}~-]{{1,64}}@{_LABEL}(\.{_LABEL})*")


@dataclass(frozen=True)
class Key:
    """A signing key and the moment from which it signs."""

    kid: str
    secret: bytes = field(repr=False)
    signs_from: datetime

    @property
    def public(self) -> Ed25519PublicKey:
        """The half that everybody may know."""
        return Ed25519PrivateKey.from_private_bytes(self.secret).public_key()


def normalise_email(text: str) -> str:
    """The address in the one form that it is stored and looked up in.

    Raises:
        ValueError: it is no e-mail address.
    """
    email = text.strip().lower()
    if len(email) > 254 or not _EMAIL.fullmatch(email) or ".." in email:
        raise ValueError("not an e-mail address")
    return email


def new_key(signs_from: datetime) -> Key:
    """A fresh key."""
    secret = Ed25519PrivateKey.generate()
    return Key(thumbprint(secret.public_key()), secret.private_bytes_raw(), signs_from)


def thumbprint(public: Ed25519PublicKey) -> str:
    """The id of a key: its RFC 7638 thumbprint, the same wherever it is computed."""
    members = {"crv": "Ed25519", "kty": "OKP", "x": _base64(public.public_bytes_raw())}
    canonical = json.dumps(members, sort_keys=True, separators=(",", ":"))
    return _base64(hashlib.sha256(canonical.encode()).digest())


def signing_key(keys: Iterable[Key], now: datetime) -> Key | None:
    """The key that signs at `now`: the latest of those that already may."""
    return max((key for key in keys if key.signs_from <= now), key=lambda key: key.signs_from, default=None)


def rotation_is_due(keys: Iterable[Key], now: datetime) -> bool:
    """Whether the newest key has signed for long enough."""
    return all(key.signs_from + ROTATE_AFTER <= now for key in keys)


def retired(keys: Iterable[Key], now: datetime) -> list[Key]:
    """The keys whose last token has expired: each was followed by another that long ago."""
    ordered = sorted(keys, key=lambda key: key.signs_from)
    return [key for key, later in pairwise(ordered) if later.signs_from + TOKEN_LIFETIME + _GRACE <= now]


def jwks(keys: Iterable[Key]) -> dict[str, Any]:
    """The public key set (RFC 7517), those that don't sign yet included."""
    return {
        "keys": [
            {
                "kty": "OKP",
                "crv": "Ed25519",
                "use": "sig",
                "alg": ALGORITHM,
                "kid": key.kid,
                "x": _base64(key.public.public_bytes_raw()),
            }
            for key in keys
        ]
    }


def access_token(key: Key, *, user_id: int, role: str, zone: str, issuer: str, audience: str, now: datetime) -> str:
    """A signed access token (RFC 9068) for a user; it carries no address and no name."""
    issued = int(now.timestamp())
    claims = {
        "iss": issuer,
        "aud": audience,
        "sub": str(user_id),
        "iat": issued,
        "exp": issued + int(TOKEN_LIFETIME.total_seconds()),
        "jti": uuid4().hex,
        "role": role,
        "zone": zone,
    }
    secret = Ed25519PrivateKey.from_private_bytes(key.secret)
    return jwt.encode(claims, secret, algorithm=ALGORITHM, headers={"kid": key.kid, "typ": TOKEN_TYPE})


def _base64(value: bytes) -> str:
    return urlsafe_b64encode(value).rstrip(b"=").decode()
