"""Access tokens under attack: whatever is wrong is a 401 with a challenge, whatever can't be judged a 503."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from services.common.context import user_id
from services.common.failures import Unavailable
from services.common.jwks import JwksCache, jwks_through
from services.common.sidecar import Sidecar
from services.common.tokens import CurrentUser, TokenVerifier
from services.common.webapp import make_app
from tests.unit.services.fake_sidecar import FakeSidecar

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
FOREIGN = Ed25519PrivateKey.from_private_bytes(bytes(32))
HEADER = {"alg": "EdDSA", "typ": "at+jwt", "kid": "k1"}
CLAIMS = {
    "iss": "todo-auth",
    "aud": "todo",
    "sub": "7",
    "iat": int(NOW.timestamp()),
    "exp": int(NOW.timestamp()) + 3600,
    "jti": "j",
    "role": "user",
    "zone": "UTC",
}


def encoded(value: bytes) -> str:
    """Base64 as tokens have it."""
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def jwk(key: Ed25519PrivateKey = KEY, kid: str = "k1") -> dict[str, str]:
    """The public half as auth shows it."""
    public = encoded(key.public_key().public_bytes_raw())
    return {"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": kid, "x": public}


def signed(
    claims: Mapping[str, Any] | str = CLAIMS,
    header: Mapping[str, Any] = HEADER,
    sign: Callable[[bytes], bytes] = KEY.sign,
) -> str:
    """A token made by hand, because no library would make most of these."""
    body = claims if isinstance(claims, str) else json.dumps(claims)
    text = f"{encoded(json.dumps(header).encode())}.{encoded(body.encode())}"
    return f"{text}.{encoded(sign(text.encode()))}"


def without(name: str) -> dict[str, Any]:
    """The claims without one."""
    return {key: value for key, value in CLAIMS.items() if key != name}


def hs256(secret: bytes) -> str:
    """A token signed with a public thing as if it were a shared secret."""
    return signed(header={**HEADER, "alg": "HS256"}, sign=lambda text: hmac.digest(secret, text, hashlib.sha256))


class Service:
    """A service with one protected route, and auth behind its sidecar."""

    def __init__(self) -> None:
        self.now = NOW
        auth = FastAPI()
        self.keys: list[dict[str, str]] = [jwk()]
        auth.get("/.well-known/jwks.json")(lambda: {"keys": self.keys})
        self.fake = FakeSidecar(apps={"auth": auth})
        sidecar = Sidecar(http_port=1, api_token=self.fake.token, transport=self.fake.transport)
        app = make_app(title="test", registry=CollectorRegistry(), checks={})
        cache = JwksCache(jwks_through(sidecar), lambda: self.now)
        app.state.verifier = TokenVerifier(cache, issuer="todo-auth", audience="todo", clock=lambda: self.now)

        @app.get("/who")
        async def who(caller: CurrentUser) -> dict[str, Any]:
            return {"id": caller.user_id, "logged": user_id.get(), "operator": caller.is_operator}

        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api")

    async def ask(self, token: str, **headers: str) -> httpx.Response:
        return await self.http.get("/who", headers={"authorization": f"Bearer {token}", **headers})


@pytest.fixture
def service() -> Service:
    """A service to ask."""
    return Service()


async def test_a_good_token(service: Service) -> None:
    """A valid token tells who asks, and logs know it from then on."""
    response = await service.ask(signed())
    assert response.json() == {"id": 7, "logged": 7, "operator": False}
    assert (await service.ask(signed({**CLAIMS, "role": "operator"}))).json()["operator"] is True


async def test_the_library_s_own_tokens(service: Service) -> None:
    """A token made with PyJWT is the same thing."""
    token = jwt.encode(dict(CLAIMS), KEY, algorithm="EdDSA", headers={"kid": "k1", "typ": "at+jwt"})
    assert (await service.ask(token)).status_code == 200


PUBLIC = KEY.public_key()
EC = generate_private_key(SECP256R1())
PEM = PUBLIC.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
ATTACKS: dict[str, str] = {
    "alg none": signed(header={**HEADER, "alg": "none"}, sign=lambda _: b""),
    "alg none with a signature": signed(header={**HEADER, "alg": "none"}),
    "alg nOnE": signed(header={**HEADER, "alg": "nOnE"}, sign=lambda _: b"x"),
    "alg missing": signed(header={"typ": "at+jwt", "kid": "k1"}),
    "alg a list": signed(header={**HEADER, "alg": ["EdDSA"]}),
    "alg Ed25519, another name of it": signed(header={**HEADER, "alg": "Ed25519"}),
    "HS256 with the PEM": hs256(PEM),
    "HS256 with the PEM, stripped": hs256(PEM.strip()),
    "HS256 with the DER": hs256(PUBLIC.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)),
    "HS256 with the raw key": hs256(PUBLIC.public_bytes_raw()),
    "HS256 with the SSH form": hs256(PUBLIC.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)),
    "HS256 with the JWK": hs256(json.dumps(jwk()).encode()),
    "HS256 with the compact JWK": hs256(json.dumps(jwk(), separators=(",", ":")).encode()),
    "HS256 with x": hs256(jwk()["x"].encode()),
    "HS256 with nothing": hs256(b""),
    "ES256": jwt.encode(dict(CLAIMS), EC, algorithm="ES256", headers={"kid": "k1", "typ": "at+jwt"}),
    "Ed448": jwt.encode(
        dict(CLAIMS), Ed448PrivateKey.generate(), algorithm="EdDSA", headers={"kid": "k1", "typ": "at+jwt"}
    ),
    "a foreign key": signed(sign=FOREIGN.sign),
    "jwk in the header": signed(header={**HEADER, "jwk": jwk(FOREIGN)}, sign=FOREIGN.sign),
    "jwk in the header, well signed": signed(header={**HEADER, "jwk": jwk()}),
    "jku": signed(header={**HEADER, "jku": "http://127.0.0.1:9/keys"}, sign=FOREIGN.sign),
    "x5u": signed(header={**HEADER, "x5u": "http://127.0.0.1:9/cert"}, sign=FOREIGN.sign),
    "x5c": signed(header={**HEADER, "x5c": ["MIIB"]}, sign=FOREIGN.sign),
    "crit": signed(header={**HEADER, "crit": ["exp"]}),
    "b64 false": signed(header={**HEADER, "b64": False, "crit": ["b64"]}),
    "kid a path": signed(header={**HEADER, "kid": "../../etc/passwd"}),
    "kid SQL": signed(header={**HEADER, "kid": "' OR 1=1 --"}),
    "kid 10 KB": signed(header={**HEADER, "kid": "k" * 10_240}),
    "kid unknown": signed(header={**HEADER, "kid": "k2"}),
    "kid empty": signed(header={**HEADER, "kid": ""}),
    "kid a number": signed(header={**HEADER, "kid": 1}),
    "kid null": signed(header={**HEADER, "kid": None}),
    "kid missing": signed(header={"alg": "EdDSA", "typ": "at+jwt"}),
    "kid with NUL": signed(header={**HEADER, "kid": "k1\0"}),
    "typ JWT": signed(header={**HEADER, "typ": "JWT"}),
    "typ missing": signed(header={"alg": "EdDSA", "kid": "k1"}),
    "typ in full": signed(header={**HEADER, "typ": "application/at+jwt"}),
    "expired": signed({**CLAIMS, "exp": CLAIMS["iat"] - 1}),
    "expires now": signed({**CLAIMS, "exp": CLAIMS["iat"]}),
    "exp missing": signed(without("exp")),
    "exp text": signed({**CLAIMS, "exp": str(CLAIMS["exp"])}),
    "exp a fraction": signed({**CLAIMS, "exp": CLAIMS["iat"] + 60.5}),
    "exp true": signed({**CLAIMS, "exp": True}),
    "exp null": signed({**CLAIMS, "exp": None}),
    "exp huge": signed({**CLAIMS, "exp": 10**30}),
    "exp infinite": signed(json.dumps({**CLAIMS, "exp": float("inf")})),
    "exp not a number": signed(json.dumps({**CLAIMS, "exp": float("nan")})),
    "exp of 5000 digits": signed(json.dumps(without("exp"))[:-1] + ', "exp": ' + "9" * 2500 + "}"),
    "nbf in the future": signed({**CLAIMS, "nbf": CLAIMS["iat"] + 60}),
    "nbf text": signed({**CLAIMS, "nbf": "0"}),
    "iat in the future": signed({**CLAIMS, "iat": CLAIMS["iat"] + 60}),
    "iat missing": signed(without("iat")),
    "iat negative": signed({**CLAIMS, "iat": -1}),
    "iss wrong": signed({**CLAIMS, "iss": "https://evil.example"}),
    "iss missing": signed(without("iss")),
    "iss a list": signed({**CLAIMS, "iss": ["todo-auth"]}),
    "aud wrong": signed({**CLAIMS, "aud": "other"}),
    "aud missing": signed(without("aud")),
    "aud a list": signed({**CLAIMS, "aud": ["todo", "other"]}),
    "sub missing": signed(without("sub")),
    "sub a number": signed({**CLAIMS, "sub": 7}),
    "sub zero": signed({**CLAIMS, "sub": "0"}),
    "sub negative": signed({**CLAIMS, "sub": "-7"}),
    "sub too large": signed({**CLAIMS, "sub": "9" * 19}),
    "sub in other digits": signed({**CLAIMS, "sub": "\u0667"}),
    "sub with a newline": signed({**CLAIMS, "sub": "7\n"}),
    "role missing": signed(without("role")),
    "role a list": signed({**CLAIMS, "role": ["operator"]}),
    "claims a list": signed("[]"),
    "claims text": signed('"7"'),
    "claims nested": signed("[" * 1000 + "]" * 1000),
    "claims no JSON": signed("{"),
    "claims no UTF-8": signed("{}")[:10] + "." + encoded(b"\xff\xfe") + ".AAAA",
    "truncated": signed()[:-4],
    "no signature": signed().rpartition(".")[0] + ".",
    "trailing data": signed() + "AAAA",
    "four parts": signed() + ".AAAA",
    "five parts, as a JWE": ".".join(["AAAA"] * 5),
    "one word": "abc",
    "padding": signed() + "==",
    "not base64": "%%%.%%%.%%%",
    "a space": signed().replace(".", ". ", 1),
    "not ASCII": "ä.ö.ü",
    "1 MB": "a" * 500_000 + "." + "a" * 250_000 + "." + "a" * 250_000,
    "1 MB of claims, well signed": signed({**CLAIMS, "x": "a" * 750_000}),
    "1 MB of dots": "." * 1_000_000,
}


@pytest.mark.parametrize("attack", ATTACKS)
async def test_attack(service: Service, attack: str) -> None:
    """No forged, mistyped or malformed token gets in; the answer is a 401 with a challenge and no detail."""
    # Of this process, which the service runs in: a machine that does other things meanwhile makes no difference.
    started = time.process_time()
    headers = {b"authorization": b"Bearer " + ATTACKS[attack].encode()}
    response = await service.http.get("/who", headers=headers)
    assert response.status_code == 401
    assert 'error="invalid_token"' in response.headers["www-authenticate"]
    assert response.headers["content-type"] == "application/problem+json"
    assert set(response.json()) == {"type", "title", "status", "code", "detail", "correlation_id"}
    assert time.process_time() - started < 1
    # Nobody but auth is ever asked, and for nothing but its key set.
    assert {call.url.path for call in service.fake.calls} <= {"/v1.0/invoke/auth/method/.well-known/jwks.json"}


@pytest.mark.parametrize("position", ["header", "claims", "signature"])
async def test_flipped_bits(service: Service, position: str) -> None:
    """A token with any single bit changed is refused."""
    parts = signed().split(".")
    index = ["header", "claims", "signature"].index(position)
    raw = bytearray(base64.urlsafe_b64decode(parts[index] + "=="))
    for bit in range(0, len(raw) * 8, 3):
        raw[bit // 8] ^= 1 << bit % 8
        parts[index] = encoded(bytes(raw))
        assert (await service.ask(".".join(parts))).status_code == 401
        raw[bit // 8] ^= 1 << bit % 8


async def test_the_last_character_has_one_spelling(service: Service) -> None:
    """Bits that base64 leaves unused are not another way to write the same token into a deny list's blind spot."""
    token = signed()
    spellings = [token[:-1] + last for last in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"]
    accepted = [text for text in spellings if (await service.ask(text)).status_code == 200]
    assert accepted == [token]


@pytest.mark.parametrize("given", [None, "", "Bearer", "Bearer ", "Basic dTpw", "bearer", "Token x", "BearerX y"])
async def test_no_token(service: Service, given: str | None) -> None:
    """Without a bearer token the answer is a 401 whose challenge names no error (RFC 6750, section 3.1)."""
    response = await service.http.get("/who", headers={} if given is None else {"authorization": given})
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == 'Bearer realm="todo"'


async def test_two_tokens(service: Service) -> None:
    """Two Authorization headers are none: a proxy and we might read different ones."""
    headers = [("authorization", f"Bearer {signed()}"), ("authorization", "Bearer x")]
    assert (await service.http.get("/who", headers=headers)).status_code == 401


async def test_a_token_elsewhere_does_not_count(service: Service) -> None:
    """A token in the address would be logged, so it is not looked for there."""
    assert (await service.http.get("/who", params={"access_token": signed()})).status_code == 401


async def test_malformed_tokens_cost_auth_nothing(service: Service) -> None:
    """A token that can't be one of ours is refused without asking for keys."""
    for name in ("alg none", "jku", "HS256 with the PEM", "typ JWT", "1 MB", "kid a path"):
        await service.ask(ATTACKS[name])
    assert service.fake.calls == []


async def test_forged_key_ids_cost_auth_little(service: Service) -> None:
    """However many unknown key ids come, auth is asked at most once in 30 seconds."""
    await service.ask(signed())
    for number in range(200):
        service.now = NOW + timedelta(seconds=number / 4)
        token = signed(header={**HEADER, "kid": f"forged-{number}"})
        assert (await service.ask(token)).status_code == 401
    assert len(service.fake.calls) == 2


async def test_clocks_may_differ_a_little(service: Service) -> None:
    """A token from a clock a few seconds ahead is good, and none is good after its end."""
    ahead = {**CLAIMS, "iat": CLAIMS["iat"] + 4}
    assert (await service.ask(signed(ahead))).status_code == 200
    service.now = NOW + timedelta(seconds=3600)
    response = await service.ask(signed())
    assert (response.status_code, response.json()["detail"]) == (401, "the access token has expired")


async def test_rotation(service: Service) -> None:
    """A token of a new key gets in at once where the keys are older than 30 seconds; an old key fades with its entry."""
    assert (await service.ask(signed())).status_code == 200
    service.keys = [jwk(FOREIGN, "k2")]
    service.now = NOW + timedelta(seconds=31)
    assert (await service.ask(signed(header={**HEADER, "kid": "k2"}, sign=FOREIGN.sign))).status_code == 200
    assert (await service.ask(signed())).status_code == 401


async def test_auth_away_from_the_start(service: Service) -> None:
    """Before any key is known a token can't be judged: 503, and 200 as soon as auth is back."""
    service.fake.away = True
    response = await service.ask(signed())
    assert response.status_code == 503
    assert response.headers["retry-after"] == "1"
    service.fake.away = False
    service.now += timedelta(seconds=1)
    assert (await service.ask(signed())).status_code == 200


async def test_auth_goes_away(service: Service) -> None:
    """Known keys serve for an hour without auth; an unknown key can't be judged; garbage is still refused."""
    assert (await service.ask(signed())).status_code == 200
    service.fake.away = True
    service.now = NOW + timedelta(minutes=50)
    assert (await service.ask(signed())).status_code == 200
    assert (await service.ask(signed(header={**HEADER, "kid": "k2"}))).status_code == 503
    assert (await service.ask(ATTACKS["alg none"])).status_code == 401
    service.now = NOW + timedelta(minutes=61)
    later = {**CLAIMS, "exp": CLAIMS["exp"] + 3600}
    assert (await service.ask(signed(later))).status_code == 503


async def test_nobody_waits_for_auth_with_a_key_at_hand() -> None:
    """While auth hangs, tokens of known keys are judged at once, and it is asked again in the background."""
    asked, now = [0], [NOW]
    hangs = asyncio.Event()

    async def fetch() -> dict[str, Any]:
        asked[0] += 1
        if asked[0] == 2:
            await hangs.wait()
        return {"keys": [jwk()]}

    cache = JwksCache(fetch, lambda: now[0])
    assert await cache.get("k1") is not None
    now[0] += timedelta(minutes=6)
    for _ in range(5):
        assert await asyncio.wait_for(cache.get("k1"), 1) is not None
        await asyncio.sleep(0)
    assert asked == [2]
    hangs.set()
    unknown = await asyncio.wait_for(cache.get("k2"), 1)
    assert (unknown, asked) == (None, [2])


async def test_a_process_is_ready_once_it_had_the_keys() -> None:
    """Until then it asks, no more often than every second; afterwards auth may go away."""
    asked, now, is_away = [0], [NOW], [True]

    async def fetch() -> dict[str, Any]:
        asked[0] += 1
        if is_away[0]:
            raise Unavailable("not yet")
        return {"keys": [jwk()]}

    cache = JwksCache(fetch, lambda: now[0])
    assert [await cache.missing() for _ in range(3)] == ["auth's keys could not be fetched yet"] * 3
    is_away[0] = False
    now[0] += timedelta(seconds=2)
    assert await cache.missing() is None
    is_away[0] = True
    now[0] += timedelta(hours=2)
    assert (await cache.missing(), asked) == (None, [2])


@pytest.mark.parametrize("answer", [httpx.Response(500, text="x"), httpx.Response(200, text="<html>"), "empty", "list"])
async def test_auth_answers_nonsense(answer: httpx.Response | str) -> None:
    """An answer that is no key set is auth being away, not the user being wrong."""
    service = Service()
    body = {"empty": {"keys": []}, "list": []}
    made = httpx.Response(200, json=body[answer]) if isinstance(answer, str) else answer
    sidecar = Sidecar(http_port=1, api_token="t", transport=httpx.MockTransport(lambda _: made))
    cache = JwksCache(jwks_through(sidecar), lambda: NOW)
    verifier = TokenVerifier(cache, issuer="todo-auth", audience="todo", clock=lambda: NOW)
    service.http._transport.app.state.verifier = verifier
    assert (await service.ask(signed())).status_code == 503
