"""Access tokens and the auth service that vouches for them, for tests of services that only check them."""

from __future__ import annotations

import base64
from datetime import datetime, timedelta

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import FastAPI

_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def token(user_id: int, *, now: datetime, role: str = "user") -> str:
    """A good token of a user."""
    claims = {
        "iss": "todo-auth",
        "aud": "todo",
        "sub": str(user_id),
        "iat": int(now.timestamp()),
        "exp": int((now + timedelta(hours=1)).timestamp()),
        "jti": "j",
        "role": role,
        "zone": "UTC",
    }
    return jwt.encode(claims, _KEY, algorithm="EdDSA", headers={"typ": "at+jwt", "kid": "k1"})


def auth_app() -> FastAPI:
    """An auth service that publishes the key of these tokens."""
    public = base64.urlsafe_b64encode(_KEY.public_key().public_bytes_raw()).rstrip(b"=").decode()
    app = FastAPI()
    key = {"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": "k1", "x": public}
    app.get("/.well-known/jwks.json")(lambda: {"keys": [key]})
    return app
