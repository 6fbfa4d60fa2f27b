"""The decisions of auth: addresses, keys through their life, what a token says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import jwt
import pytest

from services.auth import handlers
from services.auth.handlers import PUBLISH_LEAD, ROTATE_AFTER, TOKEN_LIFETIME, Key, normalise_email
from services.common.jwks import FRESH, UNKNOWN_KEY_PAUSE, public_keys

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("ann@example.org", "ann@example.org"),
        ("  Ann@Example.ORG\n", "ann@example.org"),
        ("a.b+c_d'e@x-y.co.uk", "a.b+c_d'e@x-y.co.uk"),
        ("root@localhost", "root@localhost"),
    ],
)
def test_an_address_has_one_form(given: str, stored: str) -> None:
    """Blanks and capitals make no second user."""
    assert normalise_email(given) == stored


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@",
        "ann",
        "ann@",
        "@example.org",
        "a@b@c",
        "a b@c.d",
        "a@b..c",
        "a..b@c.d",
        "a@-b.c",
        "a@b-.c",
        "a@.b",
        "a@b.",
        "a\n@b.c",
        "a@b.c\nBcc: x@y.z",
        "a\0@b.c",
        "\u0430nn@example.org",
        "a@exämple.org",
        "a" * 65 + "@b.c",
        "a@" + "b" * 64 + ".c",
        "a@" + ".".join(["b" * 60] * 5),
        '"a b"@c.d',
        "a@[127.0.0.1]",
        "a@b.c, d@e.f",
        "<a@b.c>",
    ],
)
def test_no_address(text: str) -> None:
    """What mail can't be sent to, or looks like another address, is refused."""
    with pytest.raises(ValueError, match="not an e-mail address"):
        normalise_email(text)


def key(hours: float) -> Key:
    """A key that signs from so many hours after NOW."""
    return handlers.new_key(NOW + timedelta(hours=hours))


def test_the_latest_active_key_signs() -> None:
    """A key that is not active yet does not sign, and without an active one none does."""
    old, present, coming = key(-5), key(-1), key(1)
    assert handlers.signing_key([coming, old, present], NOW) is present
    assert handlers.signing_key([coming], NOW) is None
    assert handlers.signing_key([], NOW) is None


def test_a_key_goes_when_its_last_token_has() -> None:
    """A key stays published until every token that it signed has expired, and the newest one always."""
    old, middle, present = key(-30), key(-2), key(-1.01)
    assert handlers.retired([present, old, middle], NOW) == [old]
    later = NOW + timedelta(minutes=10)
    assert handlers.retired([present, old, middle], later) == [old, middle]
    assert handlers.retired([present], NOW + timedelta(days=999)) == []
    assert handlers.retired([], NOW) == []


def test_rotation_is_due() -> None:
    """The first key is due at once; then one each 30 days; a waiting one is enough."""
    assert handlers.rotation_is_due([], NOW)
    assert not handlers.rotation_is_due([key(-1)], NOW)
    assert handlers.rotation_is_due([key(-1)], NOW + ROTATE_AFTER)
    assert not handlers.rotation_is_due([key(-24 * 40), key(0.1)], NOW)


def test_a_new_key_is_known_everywhere_before_it_signs() -> None:
    """Verifiers ask for keys again sooner than a new key starts to sign."""
    assert FRESH < PUBLISH_LEAD
    assert UNKNOWN_KEY_PAUSE < PUBLISH_LEAD


def test_the_key_set() -> None:
    """The published set is what verifiers understand, and holds no secret."""
    keys = [key(-1), key(1)]
    published = handlers.jwks(keys)
    assert {name for entry in published["keys"] for name in entry} == {"kty", "crv", "use", "alg", "kid", "x"}
    assert {kid: found.public_bytes_raw() for kid, found in public_keys(published).items()} == {
        one.kid: one.public.public_bytes_raw() for one in keys
    }


def test_a_key_is_named_by_its_thumbprint() -> None:
    """The id is the RFC 7638 thumbprint (the example of RFC 8037, appendix A.3)."""
    secret = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    assert handlers.thumbprint(Key("", secret, NOW).public) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_what_a_token_says() -> None:
    """A token says who, for whom, until when and with which rights; no address, no name."""
    one = key(-1)
    token = handlers.access_token(
        one, user_id=7, role="user", zone="Europe/Berlin", issuer="todo-auth", audience="todo", now=NOW
    )
    assert jwt.get_unverified_header(token) == {"alg": "EdDSA", "typ": "at+jwt", "kid": one.kid}
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims.pop("jti")
    issued = int(NOW.timestamp())
    assert claims == {
        "iss": "todo-auth",
        "aud": "todo",
        "sub": "7",
        "iat": issued,
        "exp": issued + TOKEN_LIFETIME.total_seconds(),
        "role": "user",
        "zone": "Europe/Berlin",
    }


def test_a_key_does_not_show_its_secret() -> None:
    """A key in a log or a traceback is only its name."""
    assert "secret" not in repr(key(0))
