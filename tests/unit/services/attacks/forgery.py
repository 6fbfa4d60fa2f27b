"""Access tokens as an attacker makes them, by hand, because no library would make most of these."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.unit.services.stand import Stand

FOREIGN = Ed25519PrivateKey.from_private_bytes(bytes(32))


def encoded(value: bytes) -> str:
    """Base64 as tokens have it."""
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def jwk(key: Ed25519PrivateKey, kid: str) -> dict[str, str]:
    """The public half as a key set shows it."""
    public = encoded(key.public_key().public_bytes_raw())
    return {"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": kid, "x": public}


@dataclass(frozen=True)
class Forge:
    """The stand's own signing key, stolen for tests, and a user's id."""

    key: Ed25519PrivateKey
    kid: str
    user_id: int

    @classmethod
    def of(cls, target: Stand, user: str) -> Forge:
        """The forge for a user of the stand."""
        claims = target.token(user).split(".")[1]
        subject = json.loads(base64.urlsafe_b64decode(claims + "=="))["sub"]
        kid = json.loads(base64.urlsafe_b64decode(target.token(user).split(".")[0] + "=="))["kid"]
        [row] = target.rows("SELECT private_key FROM auth.signing_keys WHERE kid = %s", kid)
        return cls(Ed25519PrivateKey.from_private_bytes(bytes(row["private_key"])), kid, int(subject))

    @property
    def header(self) -> dict[str, Any]:
        return {"alg": "EdDSA", "typ": "at+jwt", "kid": self.kid}

    @property
    def claims(self) -> dict[str, Any]:
        """Those of a good token."""
        now = int(time.time())
        return {
            "iss": "todo-auth",
            "aud": "todo",
            "sub": str(self.user_id),
            "role": "user",
            "zone": "UTC",
            "jti": "j",
            "iat": now,
            "exp": now + 3600,
        }

    def token(
        self,
        claims: Mapping[str, Any] | str | None = None,
        header: Mapping[str, Any] | None = None,
        sign: Callable[[bytes], bytes] | None = None,
    ) -> str:
        """A token of these claims under this header, well signed unless told otherwise."""
        body = claims if isinstance(claims, str) else json.dumps(self.claims | dict(claims or {}))
        text = f"{encoded(json.dumps(self.header | dict(header or {})).encode())}.{encoded(body.encode())}"
        return f"{text}.{encoded((sign or self.key.sign)(text.encode()))}"

    def without(self, *names: str) -> str:
        """A token without some claims."""
        return self.token(json.dumps({name: value for name, value in self.claims.items() if name not in names}))

    def hs256(self, secret: bytes) -> str:
        """A token signed with something public as if it were a shared secret."""
        return self.token(header={"alg": "HS256"}, sign=lambda text: hmac.digest(secret, text, hashlib.sha256))

    def public(self, encoding: Encoding, form: PublicFormat) -> bytes:
        """The public key as everybody may have it."""
        return self.key.public_key().public_bytes(encoding, form)
