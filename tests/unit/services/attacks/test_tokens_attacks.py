"""Attacks 1 to 11: access tokens that were never given, changed, forged or too large; docs/attacks.md."""

from __future__ import annotations

import base64
import json
import time
from datetime import timedelta

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from prometheus_client import CollectorRegistry

from services.auth.app import create_app as auth_app
from services.common.database import Database
from services.common.jwks import JwksCache, jwks_through
from services.common.settings import ServiceSettings
from services.common.sidecar import Sidecar
from services.common.tokens import InvalidTokenError, TokenVerifier
from tests.unit.services.attacks.forgery import FOREIGN, Forge, encoded, jwk
from tests.unit.services.fake_broker import FakeClock
from tests.unit.services.fake_sidecar import FakeSidecar
from tests.unit.services.postgres_server import TodoDatabase
from tests.unit.services.stand import PASSWORD, SIDECAR, Stand

PROTECTED = (("api", "/api/tasks"), ("auth", "/api/auth/me"), ("audit", "/api/audit/logs"), ("api", "/api/auth/me"))
PROBLEM = {"type", "title", "status", "code", "detail", "correlation_id"}


def refused(target: Stand, token: str) -> None:
    """Every protected route says 401 to the token, with a challenge and without a detail of why."""
    for service, path in PROTECTED:
        # As bytes: a token need not be text.
        headers = {b"authorization": b"Bearer " + token.encode()}
        answer = target.http.get(target.url(service, path), headers=headers)
        assert (answer.status_code, service) == (401, service), (token[:100], answer.text)
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]
        assert answer.headers["content-type"] == "application/problem+json"
        assert set(answer.json()) == PROBLEM


def test_attack_01_no_token(target: Stand) -> None:
    """Without a token, with half of one or with two there is a 401 whose challenge names no error."""
    token = target.token("t1")
    for service, path in PROTECTED:
        for given in ([], [""], ["Bearer"], [token], ["Basic dTpw"], [f"BearerX {token}"]):
            headers = [("authorization", value) for value in given]
            answer = target.http.get(target.url(service, path), headers=headers)
            assert answer.status_code == 401, (service, given)
            assert answer.headers["www-authenticate"] == 'Bearer realm="todo"'
            assert set(answer.json()) == PROBLEM
    twice = [("authorization", f"Bearer {token}"), ("authorization", f"Bearer {token}")]
    assert target.http.get(target.url("api", "/api/tasks"), headers=twice).status_code == 401
    assert target.http.get(target.url("api", "/api/tasks"), params={"access_token": token}).status_code == 401
    assert target.call("GET", "/api/tasks", user="t1").status_code == 200


def test_attack_02_no_signature(target: Stand) -> None:
    """`alg` none in any case is a 401, with and without a signature."""
    forge = Forge.of(target, "t2")
    for name in ("none", "None", "nOnE", "NONE", ""):
        refused(target, forge.token(header={"alg": name}, sign=lambda _: b""))
        refused(target, forge.token(header={"alg": name}))


def test_attack_03_public_key_as_a_secret(target: Stand) -> None:
    """A token signed with HS256 and the PEM of our public key is a 401."""
    forge = Forge.of(target, "t3")
    pem = forge.public(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    refused(target, forge.hs256(pem))
    refused(target, forge.hs256(pem.strip()))


def test_attack_04_public_key_in_other_forms(target: Stand) -> None:
    """So it is with its DER, SSH and raw bytes and with its JWK."""
    forge = Forge.of(target, "t4")
    shown = target.http.get(target.url("auth", "/.well-known/jwks.json"))
    for secret in (
        forge.public(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        forge.public(Encoding.OpenSSH, PublicFormat.OpenSSH),
        forge.public(Encoding.Raw, PublicFormat.Raw),
        shown.content,
        json.dumps(shown.json()["keys"][0]).encode(),
        json.dumps(shown.json()["keys"][0], separators=(",", ":")).encode(),
        b"",
    ):
        refused(target, forge.hs256(secret))


def test_attack_05_a_key_of_the_attackers_own(target: Stand) -> None:
    """A key or its address in the header is a 401, and nobody is asked for it."""
    forge = Forge.of(target, "t5")
    before = len(target.fakes["api"].calls)
    for extra in (
        {"jwk": jwk(FOREIGN, forge.kid)},
        {"jku": "http://127.0.0.1:9/keys"},
        {"x5u": "http://127.0.0.1:9/cert"},
        {"x5c": ["MIIB"]},
        {"crit": ["exp"]},
    ):
        refused(target, forge.token(header=extra, sign=FOREIGN.sign))
        refused(target, forge.token(header=extra))
    refused(target, forge.token(sign=FOREIGN.sign))
    asked = {call.url.path for call in target.fakes["api"].calls[before:]}
    # The page's route to auth is a call through the sidecar; auth's keys are the only other thing.
    allowed = {"/v1.0/invoke/auth/method/api/auth/me", "/v1.0/invoke/auth/method/.well-known/jwks.json"}
    assert asked - allowed - {path for path in asked if "publish" in path} == set()


def test_attack_06_key_ids(target: Stand) -> None:
    """A key id that is a path, SQL, huge or unknown is a 401; auth is asked for its keys once in 30 s at most."""
    forge = Forge.of(target, "t6")

    def asked() -> int:
        return sum(call.url.path.endswith("jwks.json") for call in target.fakes["api"].calls)

    target.call("GET", "/api/tasks", user="t6")
    before, began = asked(), time.monotonic()
    for kid in ("../../etc/passwd", "' OR 1=1 --", "k" * 10_240, "", "k\0", *(f"unknown-{n}" for n in range(30))):
        refused(target, forge.token(header={"kid": kid}))
    for odd in (None, 1, [forge.kid], {"a": 1}):
        refused(target, forge.token(header={"kid": odd}))
    assert asked() - before <= 1 + (time.monotonic() - began) / 30


def test_attack_07_times(target: Stand) -> None:
    """Expired, not yet valid, from the future or with a time that is no whole number: 401."""
    forge = Forge.of(target, "t7")
    now = int(time.time())
    for claims in (
        {"exp": now - 1},
        {"exp": now},
        {"nbf": now + 60},
        {"iat": now + 60},
        {"exp": str(now + 60)},
        {"exp": now + 60.5},
        {"exp": 10**30},
        {"exp": True},
        {"exp": None},
        {"exp": -1},
        {"exp": [now + 60]},
        {"nbf": "0"},
        {"iat": None},
    ):
        refused(target, forge.token(claims))
    refused(target, forge.without("exp"))
    refused(target, forge.without("iat"))
    refused(target, forge.token(json.dumps(forge.claims | {"exp": float("inf")})))


def test_attack_08_for_somebody_else(target: Stand) -> None:
    """Another issuer, audience or kind of token is a 401."""
    forge = Forge.of(target, "t8")
    for claims in (
        {"iss": "https://evil.example"},
        {"iss": ["todo-auth"]},
        {"aud": "other"},
        {"aud": ["todo", "other"]},
        {"aud": ["todo"]},
        {"aud": None},
        {"sub": "0"},
        {"sub": "-1"},
        {"sub": forge.user_id},
        {"sub": f"{forge.user_id} "},
        {"role": ["operator"]},
    ):
        refused(target, forge.token(claims))
    for name in ("iss", "aud", "sub", "role"):
        refused(target, forge.without(name))
    for kind in ("JWT", "id+jwt", "", "AT+JWT", "application/at+jwt", None):
        refused(target, forge.token(header={"typ": kind}))


def test_attack_09_changed_tokens(target: Stand) -> None:
    """A token with a flipped bit, cut, lengthened or with a claim twice is a 401."""
    forge, token = Forge.of(target, "t9"), target.token("t9")
    head, claims, signature = token.split(".")
    for part, name in ((claims, "claims"), (signature, "signature")):
        raw = bytearray(base64.urlsafe_b64decode(part + "=="))
        for bit in range(0, len(raw) * 8, 37):
            raw[bit // 8] ^= 1 << bit % 8
            changed = encoded(bytes(raw))
            refused(target, f"{head}.{changed}.{signature}" if name == "claims" else f"{head}.{claims}.{changed}")
            raw[bit // 8] ^= 1 << bit % 8
    for bad in (token[:-4], token[:-1], token + "AAAA", token + ".AAAA", token + "==", f"{head}.{claims}.", token * 2):
        refused(target, bad)
    # JSON that two readers may understand differently; signed by us, it would still have to be one of our own form.
    twice = json.dumps(forge.claims)[:-1] + f', "sub": "{forge.user_id}", "exp": "never"}}'
    refused(target, forge.token(twice))
    refused(target, forge.token(header={"alg": "ES256"}))
    refused(target, forge.token(sign=Ed25519PrivateKey.generate().sign))


async def test_attack_10_rotated_keys(todo: TodoDatabase) -> None:
    """A new key signs ten minutes after the rotation and is known at once; an old one ends with its last token."""
    clock = FakeClock()
    settings = ServiceSettings(
        service_name="auth",
        port=1,
        dapr_http_port=1,
        dapr_api_token="dapr-token",
        app_api_token="app-token",
        rate_limit_per_second=0,
    )
    fake = FakeSidecar()
    sidecar = Sidecar(http_port=1, api_token=fake.token, transport=fake.transport)
    database = Database(todo.url("auth"), name="auth")
    auth = auth_app(settings=settings, database=database, sidecar=sidecar, clock=clock, registry=CollectorRegistry())
    fake.apps = {"auth": auth}
    verifier = TokenVerifier.of(JwksCache(jwks_through(sidecar), clock), settings, clock)
    account = {"email": "t10@example.org", "password": PASSWORD}
    async with httpx.AsyncClient(transport=httpx.ASGITransport(auth), base_url="http://auth") as client:

        async def log_in() -> str:
            answer = await client.post("/api/auth/login", json=account)
            return str(answer.json()["access_token"])

        await client.post("/api/auth/register", json=account)
        old = await log_in()
        await verifier.verify(old)
        rotated = (await client.post("/internal/keys/rotate", headers=SIDECAR)).json()
        assert _kid(await log_in()) == _kid(old) != rotated["kid"]
        clock.move(minutes=10, seconds=1)
        new = await log_in()
        assert _kid(new) == rotated["kid"]
        await verifier.verify(new)
        await verifier.verify(old)
        # The old key's last token has expired by then; its owner, or a thief, signs another.
        row = todo_key(todo, _kid(old))
        clock.move(hours=1, minutes=5, seconds=1)
        await client.get("/.well-known/jwks.json")
        clock.move(minutes=6)
        forged = Forge(row, _kid(old), 1).token({"iat": _now(clock), "exp": _now(clock) + 3600})
        later = await log_in()
        await verifier.verify(later)
        assert await _is_refused(verifier, forged, clock)
    await database.aclose()


async def _is_refused(verifier: TokenVerifier, token: str, clock: FakeClock) -> bool:
    # Keys are asked for again in the background once they are older than five minutes.
    for _ in range(3):
        try:
            await verifier.verify(token)
        except InvalidTokenError:
            return True
        clock.move(seconds=31)
    return False


def _kid(token: str) -> str:
    return str(json.loads(base64.urlsafe_b64decode(token.split(".", maxsplit=1)[0] + "=="))["kid"])


def _now(clock: FakeClock) -> int:
    return int((clock.now - timedelta(0)).timestamp())


def todo_key(todo: TodoDatabase, kid: str) -> Ed25519PrivateKey:
    """The private key with this id, as only somebody in the database can take it."""
    import psycopg

    with psycopg.connect(todo.admin_url) as link:
        row = link.execute("SELECT private_key FROM auth.signing_keys WHERE kid = %s", (kid,)).fetchone()
    assert row is not None
    return Ed25519PrivateKey.from_private_bytes(bytes(row[0]))


def test_attack_11_large_tokens(target: Stand) -> None:
    """A megabyte of token, deep claims and a compressed JWE are 401, at hardly any cost."""
    forge = Forge.of(target, "t11")
    bomb = {"alg": "dir", "enc": "A128GCM", "zip": "DEF"}
    for token in (
        "a" * 500_000 + "." + "a" * 250_000 + "." + "a" * 250_000,
        "." * 1_000_000,
        forge.token({"x": "a" * 750_000}),
        forge.token("[" * 1000 + "]" * 1000),
        forge.token('{"a":' * 600 + "1" + "}" * 600),
        ".".join([encoded(json.dumps(bomb).encode()), "", "AAAA", encoded(bytes(3000)), "AAAA"]),
    ):
        began = time.process_time()
        refused(target, token)
        # Client and server are one process here, and four services were asked.
        assert (time.process_time() - began) / len(PROTECTED) < 0.25
