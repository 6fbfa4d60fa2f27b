"""Auth over HTTP on a real database, with api's own verifier behind a sidecar."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import jwt
import psycopg
import pytest
from argon2 import PasswordHasher
from prometheus_client import CollectorRegistry

from services.auth.app import create_app
from services.auth.passwords import Passwords
from services.common.database import Database
from services.common.jwks import JwksCache, jwks_through
from services.common.settings import ServiceSettings
from services.common.sidecar import Sidecar
from services.common.tokens import InvalidTokenError, TokenVerifier
from tests.unit.services.fake_sidecar import FakeSidecar
from tests.unit.services.postgres_server import PostgresServer, TodoDatabase

ANN = {"email": "ann@example.org", "password": "correct horse"}
INSIDE = {"dapr-api-token": "app-token"}


class Auth:
    """One replica of auth, with a clock to set."""

    def __init__(self, url: str, *, rate: float = 0, hasher: PasswordHasher | None = None) -> None:
        self.now = datetime(2026, 11, 23, 12, tzinfo=UTC)
        self.monotonic = 0.0
        self.database = Database(url, name="auth", size=5, seconds=2)
        self.passwords = Passwords(hasher or PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))
        settings = ServiceSettings(
            service_name="auth",
            port=1,
            dapr_http_port=1,
            dapr_api_token="dapr-token",
            app_api_token="app-token",
            rate_limit_per_second=rate,
        )
        self.app = create_app(
            settings=settings,
            database=self.database,
            sidecar=Sidecar.from_settings(settings, transport=FakeSidecar().transport),
            clock=lambda: self.now,
            registry=CollectorRegistry(),
            monotonic=lambda: self.monotonic,
            passwords=self.passwords,
        )
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://auth")

    async def post(self, path: str, **body: Any) -> httpx.Response:
        return await self.http.post(f"/api/auth/{path}", json=body)

    async def token(self) -> str:
        response = await self.post("login", **ANN)
        assert response.status_code == 200, response.text
        return str(response.json()["access_token"])

    async def me(self, token: str) -> httpx.Response:
        return await self.http.get("/api/auth/me", headers={"authorization": f"Bearer {token}"})

    def verifier(self) -> TokenVerifier:
        """A verifier as api has it: keys through its sidecar."""
        fake = FakeSidecar(apps={"auth": self.app})
        sidecar = Sidecar(http_port=1, api_token=fake.token, transport=fake.transport)
        cache = JwksCache(jwks_through(sidecar), lambda: self.now)
        return TokenVerifier(cache, issuer="todo-auth", audience="todo", clock=lambda: self.now)

    async def close(self) -> None:
        await self.http.aclose()
        self.passwords.close()
        await self.database.aclose()


@pytest.fixture
async def auth(todo: TodoDatabase) -> AsyncIterator[Auth]:
    """One replica without limits."""
    made = Auth(todo.url("auth"))
    yield made
    await made.close()


@pytest.fixture
async def strict(todo: TodoDatabase) -> AsyncIterator[Auth]:
    """Auth with its limits on: five requests a second from one peer."""
    made = Auth(todo.url("auth"), rate=5)
    yield made
    await made.close()


async def test_from_registration_to_another_service(auth: Auth) -> None:
    """A new user logs in and is known to auth itself and, by its published keys, to any other service."""
    registered = await auth.post("register", **{**ANN, "email": " ANN@example.org"}, zone="Europe/Berlin")
    assert (registered.status_code, registered.json()) == (
        201,
        {"id": 1, "email": "ann@example.org", "zone": "Europe/Berlin"},
    )
    login = await auth.post("login", email="Ann@Example.org", password=ANN["password"])
    assert {**login.json(), "access_token": ""} == {"access_token": "", "token_type": "Bearer", "expires_in": 3600}
    assert login.headers["cache-control"] == "no-store"
    token = login.json()["access_token"]
    assert (await auth.me(token)).json() == {**registered.json(), "role": "user"}
    principal = await auth.verifier().verify(token)
    assert (principal.user_id, principal.role, principal.zone) == (1, "user", "Europe/Berlin")


async def test_an_address_is_taken_once(auth: Auth) -> None:
    """Of registrations for one address at the same moment exactly one succeeds."""
    answers = await asyncio.gather(*(auth.post("register", **ANN) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"email_taken"}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"email": "ann"}, "email"),
        ({"email": "a\0@b.c"}, "email"),
        ({"email": "a\ud800@b.c"}, "email"),
        ({"email": 7}, "email"),
        ({"email": "a" * 10_000}, "email"),
        ({"password": "short"}, "password"),
        ({"password": "x" * 257}, "password"),
        ({"password": "abcdefg\ud800"}, "password"),
        ({"password": None}, "password"),
        ({"zone": "Mars/Base"}, "zone"),
        ({"zone": "../../etc/passwd"}, "zone"),
        ({"zone": "U\0TC"}, "zone"),
        ({"zone": ""}, "zone"),
        ({"role": "operator"}, "role"),
        ({"id": 1}, "id"),
    ],
)
async def test_a_registration_that_does_not_fit(auth: Auth, change: dict[str, Any], field: str) -> None:
    """Each field that is wrong is named; nothing can be set that is not the user's to set."""
    content = ascii_json({**ANN, **change})
    response = await auth.http.post("/api/auth/register", content=content, headers={"content-type": "application/json"})
    assert response.status_code == 422
    assert [error["field"] for error in response.json()["errors"]] == [field]


def ascii_json(value: object) -> str:
    """JSON with every odd character escaped, as httpx would not."""
    return json.dumps(value)


@pytest.mark.parametrize("password", ["p\0ssword with NUL", "пароль и 🔑 пробелы ", " " * 8, "x" * 256])
async def test_any_text_is_a_password(auth: Auth, password: str) -> None:
    """A password is taken as it is, to the last blank."""
    assert (await auth.post("register", email="ann@example.org", password=password)).status_code == 201
    assert (await auth.post("login", email="ann@example.org", password=password)).status_code == 200
    assert (await auth.post("login", email="ann@example.org", password=password[:-1])).status_code == 401


async def test_the_hash_in_the_database(auth: Auth, todo: TodoDatabase) -> None:
    """The database holds an argon2id hash; and one of weaker parameters becomes ours at the next login."""
    await auth.post("register", **ANN)
    stored = password_hash(todo)
    assert stored.startswith("$argon2id$v=19$m=64,t=1,p=1$")
    stronger = Auth(todo.url("auth"), hasher=PasswordHasher(time_cost=2, memory_cost=64, parallelism=1))
    await stronger.token()
    await stronger.token()
    assert password_hash(todo).startswith("$argon2id$v=19$m=64,t=2,p=1$")
    await stronger.close()


def password_hash(todo: TodoDatabase) -> str:
    """The one stored hash."""
    with psycopg.connect(todo.admin_url) as link:
        return str(link.execute("SELECT password_hash FROM auth.users").fetchone()[0])


async def test_wrong_credentials_look_alike(auth: Auth) -> None:
    """A wrong password and an unknown user get the same answer."""
    await auth.post("register", **ANN)
    wrong = await auth.post("login", email="ann@example.org", password="wrong horse")
    unknown = await auth.post("login", email="bob@example.org", password="wrong horse")
    for answer in (wrong, unknown):
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
    assert {**wrong.json(), "correlation_id": ""} == {**unknown.json(), "correlation_id": ""}


class CountingHasher(PasswordHasher):
    """Counts the checks and keeps the parameters that each was made with."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=64, parallelism=1)
        self.checked: list[str] = []

    def verify(self, hash: str | bytes, password: str | bytes) -> bool:  # noqa: A002 - the parent's name
        """Whether they belong together."""
        self.checked.append(str(hash).rpartition("$")[0].rpartition("$")[0])
        return super().verify(hash, password)


async def test_an_unknown_user_takes_as_long(todo: TodoDatabase) -> None:
    """Whether a user exists can't be told by time: each login checks one hash of the same cost."""
    hasher = CountingHasher()
    auth = Auth(todo.url("auth"), hasher=hasher)
    await auth.post("register", **ANN)
    await auth.post("login", email="ann@example.org", password="wrong horse")
    await auth.post("login", email="bob@example.org", password="wrong horse")
    await auth.close()
    known, unknown = hasher.checked
    assert known == unknown == "$argon2id$v=19$m=64,t=1,p=1"


async def test_guessing_is_slowed_down(strict: Auth) -> None:
    """After ten wrong tries an address has to wait, the right password too; then one try comes back each 6 seconds."""
    await strict.post("register", **ANN)
    statuses = []
    for _ in range(13):
        strict.monotonic += 0.2
        response = await strict.post("login", email="ANN@example.org", password="wrong horse")
        statuses.append(response.status_code)
    assert statuses == [401] * 10 + [429] * 3
    assert 1 <= int(response.headers["retry-after"]) <= 6
    assert (await strict.post("login", **ANN)).status_code == 429
    strict.monotonic += 6
    assert (await strict.post("login", **ANN)).status_code == 200


async def test_logging_in_often_is_fine(strict: Auth) -> None:
    """A right password costs none of the tries."""
    await strict.post("register", **ANN)
    for _ in range(30):
        strict.monotonic += 0.2
        assert (await strict.post("login", **ANN)).status_code == 200


async def test_tries_at_the_same_moment_count(todo: TodoDatabase) -> None:
    """Guesses that arrive together don't slip through before the first is judged."""
    auth = Auth(todo.url("auth"), rate=100)
    await auth.post("register", **ANN)
    answers = await asyncio.gather(*(auth.post("login", **{**ANN, "password": f"wrong {n}"}) for n in range(40)))
    await auth.close()
    assert sum(answer.status_code == 401 for answer in answers) == 10


async def test_one_peer_is_limited(strict: Auth) -> None:
    """A peer that tries many addresses is limited, whatever it writes into X-Forwarded-For."""
    statuses = []
    for number in range(15):
        response = await strict.http.post(
            "/api/auth/login",
            json={"email": f"u{number}@example.org", "password": "wrong horse"},
            headers={"x-forwarded-for": f"10.0.0.{number}", "forwarded": f"for=10.0.0.{number}"},
        )
        statuses.append(response.status_code)
    assert statuses == [401] * 10 + [429] * 5


async def test_who_forwards_names_the_peer(strict: Auth) -> None:
    """The address that a service of ours passed on counts, one that a client made up does not."""

    async def tries(number: int, token: str) -> list[int]:
        headers = {"x-client-address": f"10.0.0.{number}", "dapr-api-token": token}
        login = {"email": f"p{number}@example.org", "password": "wrong horse"}
        return [(await strict.http.post("/api/auth/login", json=login, headers=headers)).status_code]

    assert [await tries(number, "app-token") for number in range(15)] == [[401]] * 15
    assert [await tries(number, "guess") for number in range(15)] == [[401]] * 10 + [[429]] * 5


async def test_a_crowd_is_told_to_come_back(auth: Auth) -> None:
    """More logins than the hashes can keep up with are answered 503 with a time, not queued without end."""
    await auth.post("register", **ANN)
    auth.passwords._waiting = 100
    response = await auth.post("login", **ANN)
    assert response.status_code == 503
    assert "retry-after" in response.headers


async def test_the_internal_door(auth: Auth) -> None:
    """Internal routes open only with the sidecar's token."""
    for method, path in (
        ("GET", "/internal/users/1"),
        ("PUT", "/internal/users/by-email/ann@example.org/role"),
        ("POST", "/internal/keys/rotate"),
    ):
        assert (await auth.http.request(method, path)).status_code == 401
        assert (await auth.http.request(method, path, headers={"dapr-api-token": "no"})).status_code == 401


async def test_an_address_given_twice_is_nobody_s(auth: Auth) -> None:
    """Which of the two was meant is not guessed."""
    body = '{"email": "ann@example.org", "email": "bob@example.org", "password": "correct horse"}'
    for path in ("register", "login"):
        response = await auth.http.post(f"/api/auth/{path}", content=body, headers={"content-type": "application/json"})
        assert response.status_code == 422
        assert response.json()["errors"] == [{"field": "email", "message": "is given more than once"}]


async def test_user_details(auth: Auth) -> None:
    """Another service gets address, zone and role by id; an id that nobody has is 404, one that can't be is 422."""
    await auth.post("register", **ANN, zone="Asia/Tokyo")
    found = await auth.http.get("/internal/users/1", headers=INSIDE)
    assert found.json() == {"id": 1, "email": "ann@example.org", "zone": "Asia/Tokyo", "role": "user"}
    statuses = {
        path: (await auth.http.get(f"/internal/users/{path}", headers=INSIDE)).status_code
        for path in ("2", "0", "-1", "x", str(2**63 - 1), str(2**63), "9" * 400, "1.0")
    }
    assert statuses == {
        "2": 404,
        "0": 422,
        "-1": 422,
        "x": 422,
        str(2**63 - 1): 404,
        str(2**63): 422,
        "9" * 400: 422,
        "1.0": 200,
    }


async def test_details_of_many_users(auth: Auth) -> None:
    """Who there is, of those who were asked for; an id is a whole number, not what might be read as one."""
    answers = [await auth.post("register", **{**ANN, "email": f"{name}@example.org"}) for name in ("ann", "bob")]
    first, second = (answer.json()["id"] for answer in answers)
    answer = await auth.http.post("/internal/user-lookups", json={"ids": [second, 2**62, first]}, headers=INSIDE)
    assert sorted(user["id"] for user in answer.json()["users"]) == [first, second]
    for wrong in (True, "1", 1.5, 0, None):
        refused = await auth.http.post("/internal/user-lookups", json={"ids": [wrong]}, headers=INSIDE)
        assert refused.status_code == 422
        assert [error["field"] for error in refused.json()["errors"]] == ["ids.0"]


async def test_a_role_is_granted_and_revoked(auth: Auth) -> None:
    """The role counts from the next login on; only the two roles exist, and only for users that exist."""
    await auth.post("register", **ANN)
    path = "/internal/users/by-email/ANN%40example.org/role"
    granted = await auth.http.put(path, json={"role": "operator"}, headers=INSIDE)
    assert granted.json()["role"] == "operator"
    assert (await auth.verifier().verify(await auth.token())).is_operator
    await auth.http.put(path, json={"role": "user"}, headers=INSIDE)
    assert not (await auth.verifier().verify(await auth.token())).is_operator
    assert (await auth.http.put(path, json={"role": "root"}, headers=INSIDE)).status_code == 422
    nobody = "/internal/users/by-email/bob@example.org/role"
    assert (await auth.http.put(nobody, json={"role": "user"}, headers=INSIDE)).status_code == 404
    wrong = "/internal/users/by-email/bob/role"
    assert (await auth.http.put(wrong, json={"role": "user"}, headers=INSIDE)).status_code == 422
    await auth.post("register", email="a/b?c%d@example.org", password="correct horse")
    odd = "/internal/users/by-email/a%2Fb%3Fc%25d%40example.org/role"
    assert (await auth.http.put(odd, json={"role": "operator"}, headers=INSIDE)).json()[
        "email"
    ] == "a/b?c%d@example.org"


async def test_a_user_that_is_gone(auth: Auth, todo: TodoDatabase) -> None:
    """A token outlives its user only until auth is asked about it."""
    await auth.post("register", **ANN)
    token = await auth.token()
    with psycopg.connect(todo.admin_url, autocommit=True) as link:
        link.execute("DELETE FROM auth.users")
    assert (await auth.me(token)).status_code == 401


async def kids(auth: Auth) -> list[str]:
    """The ids of the published keys."""
    response = await auth.http.get("/.well-known/jwks.json")
    assert response.headers["cache-control"] == "public, max-age=300"
    return [entry["kid"] for entry in response.json()["keys"]]


async def test_rotation(auth: Auth) -> None:
    """A new key is shown, then signs; the old one stays until its tokens are over; no valid token is ever refused."""
    await auth.post("register", **ANN)
    verifier = auth.verifier()
    old_token = await auth.token()
    (old,) = await kids(auth)
    await verifier.verify(old_token)
    new = (await auth.http.post("/internal/keys/rotate", headers=INSIDE)).json()["kid"]
    assert await kids(auth) == [old, new]
    again = await auth.http.post("/internal/keys/rotate", headers=INSIDE)
    assert again.json()["kid"] == new
    for minutes in range(0, 60, 5):
        auth.now = datetime(2026, 11, 23, 12, minutes, tzinfo=UTC)
        token = await auth.token()
        signer = new if minutes >= 10 else old
        assert decoded_kid(token) == signer
        await verifier.verify(token)
        await verifier.verify(old_token)
    auth.now = datetime(2026, 11, 23, 13, 16, tzinfo=UTC)
    assert await kids(auth) == [new]
    with pytest.raises(InvalidTokenError):
        await verifier.verify(old_token)


def decoded_kid(token: str) -> str:
    """The key id that a token names."""
    return str(jwt.get_unverified_header(token)["kid"])


async def test_keys_rotate_by_themselves(auth: Auth) -> None:
    """After 30 days a new key comes, shown before it signs."""
    (first,) = await kids(auth)
    auth.now += timedelta(days=30)
    assert (await kids(auth))[0] == first
    assert len(await kids(auth)) == 2
    auth.now += timedelta(minutes=10)
    await auth.post("register", **ANN)
    assert decoded_kid(await auth.token()) != first


async def test_replicas_share_their_keys(auth: Auth, todo: TodoDatabase) -> None:
    """Replicas that start at the same moment agree on one first key, and each sees the other's rotation."""
    others = [Auth(todo.url("auth")) for _ in range(3)]
    found = await asyncio.gather(*(kids(one) for one in [auth, *others]))
    assert len({name for names in found for name in names}) == 1
    await others[0].http.post("/internal/keys/rotate", headers=INSIDE)
    auth.now += timedelta(seconds=15)
    assert len(await kids(auth)) == 2
    for one in others:
        await one.close()


async def test_the_database_goes_away(fragile: tuple[PostgresServer, TodoDatabase]) -> None:
    """Without its database auth still tells its keys; the rest is 503 until it is back, never a 500."""
    server, database = fragile
    auth = Auth(database.url("auth"))
    await auth.post("register", **ANN)
    token = await auth.token()
    known = await kids(auth)
    server.kill()
    auth.now += timedelta(minutes=1)
    assert await kids(auth) == known
    for response in (
        await auth.post("login", **ANN),
        await auth.post("register", email="bob@example.org", password="correct horse"),
        await auth.me(token),
        await auth.http.get("/internal/users/1", headers=INSIDE),
        await auth.http.get("/readyz"),
    ):
        assert response.status_code == 503, response.text
    server.start()
    assert (await auth.me(token)).status_code == 200
    assert (await auth.http.get("/readyz")).status_code == 200
    await auth.close()


async def test_no_database_from_the_start() -> None:
    """Auth starts without its database and says what is missing."""
    auth = Auth("postgresql://auth:x@127.0.0.1:1/todo")
    assert (await auth.http.get("/healthz")).status_code == 200
    assert "database" in (await auth.http.get("/readyz")).json()["missing"]
    assert (await auth.http.get("/.well-known/jwks.json")).status_code == 503
    await auth.close()
