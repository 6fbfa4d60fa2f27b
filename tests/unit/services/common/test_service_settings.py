"""A service's settings from its environment."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.common.settings import ServiceSettings, SettingsError

FULL = {
    "SERVICE_NAME": "api",
    "PORT": "8000",
    "DAPR_HTTP_PORT": "3500",
    "DAPR_API_TOKEN": "dapr-secret",
    "APP_API_TOKEN": "app-secret",
    "DATABASE_URL": "postgresql://api:pw-secret@h/todo",
    "SERVICE_TOKEN": "service-secret",
}


def test_defaults() -> None:
    """What has a sensible default need not be set."""
    settings = ServiceSettings.from_environ(FULL)
    assert (settings.host, settings.port, settings.pubsub_name) == ("127.0.0.1", 8000, "pubsub")
    assert (settings.token_issuer, settings.token_audience, settings.log_level) == ("todo-auth", "todo", "info")
    assert ServiceSettings.from_environ({**FULL, "LOG_LEVEL": "WARN"}).log_level == "warning"


def test_secrets_do_not_show() -> None:
    """The settings' own words carry no secret, so a log or traceback doesn't either."""
    assert "secret" not in repr(ServiceSettings.from_environ(FULL)).replace("secretstore", "").replace(
        "secret_store_name", ""
    )


@pytest.mark.parametrize("name", ["SERVICE_NAME", "PORT", "DAPR_HTTP_PORT", "DAPR_API_TOKEN", "APP_API_TOKEN"])
def test_missing_or_empty(name: str) -> None:
    """A missing setting is named; an empty one is missing."""
    for environ in ({**FULL, name: ""}, {key: value for key, value in FULL.items() if key != name}):
        with pytest.raises(SettingsError, match=name):
            ServiceSettings.from_environ(environ)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "http"),
        ("PORT", "0"),
        ("PORT", "70000"),
        ("PORT", "80.5"),
        ("PORT", "nan"),
        ("LOG_LEVEL", "loud"),
        ("RATE_LIMIT_PER_SECOND", "-1"),
        ("RATE_LIMIT_PER_SECOND", "inf"),
        ("GRACEFUL_SECONDS", "soon"),
        ("OPENAPI", "yes"),
    ],
)
def test_malformed(name: str, value: str) -> None:
    """A setting that can't be understood is named, and the process does not start."""
    with pytest.raises(SettingsError, match=name):
        ServiceSettings.from_environ({**FULL, name: value})


def test_a_database_that_is_needed() -> None:
    """A service with a database does not start without its URL."""
    assert ServiceSettings.from_environ(FULL).needed_database_url.endswith("@h/todo")
    with pytest.raises(SettingsError, match="DATABASE_URL"):
        _ = ServiceSettings.from_environ({**FULL, "DATABASE_URL": ""}).needed_database_url


def test_the_idle_colour_takes_no_work(tmp_path: Path) -> None:
    """Its file says so, and may say otherwise a moment later; without a file there are no colours."""
    file = tmp_path / "green"
    settings = ServiceSettings.from_environ({**FULL, "COLOUR_FILE": str(file)})
    assert not settings.takes_work()
    for said, takes in (("off", False), ("on\n", True), ("off", False)):
        file.write_text(said)
        assert settings.takes_work() is takes
    assert ServiceSettings.from_environ(FULL).takes_work()
