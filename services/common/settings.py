"""The settings of one service process, read once from its environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

_NEEDED = ("SERVICE_NAME", "PORT", "DAPR_HTTP_PORT", "DAPR_API_TOKEN", "APP_API_TOKEN")
_LEVELS = ("debug", "info", "warning", "error")


class SettingsError(ValueError):
    """A setting is missing or can't be understood; the process must not start."""


@dataclass(frozen=True)
class ServiceSettings:
    """What a service needs to know of its surroundings; secrets don't show in its repr."""

    service_name: str
    port: int
    dapr_http_port: int
    dapr_api_token: str = field(repr=False)
    app_api_token: str = field(repr=False)
    host: str = "127.0.0.1"
    database_url: str = field(default="", repr=False)
    service_token: str = field(default="", repr=False)
    pubsub_name: str = "pubsub"
    state_store_name: str = "statestore"
    secret_store_name: str = "secretstore"  # noqa: S105 - the name of a component
    token_issuer: str = "todo-auth"  # noqa: S105 - a claim's value
    token_audience: str = "todo"  # noqa: S105 - a claim's value
    log_level: str = "info"
    rate_limit_per_second: float = 50.0
    drain_seconds: float = 0.0
    graceful_seconds: int = 3
    shares_port: bool = False
    openapi: bool = False
    colour_file: str = ""

    def takes_work(self) -> bool:
        """Whether it may take events and jobs: not while it is the idle colour of a release.

        The colour's file says so, and changes while the process runs; without one there are no colours.
        """
        try:
            return not self.colour_file or Path(self.colour_file).read_text().strip() == "on"
        except OSError:
            return False

    @property
    def needed_database_url(self) -> str:
        """The database's URL, for a service that can't be without one.

        Raises:
            SettingsError: it is not set.
        """
        if not self.database_url:
            raise SettingsError("missing in the environment: DATABASE_URL")
        return self.database_url

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """The settings that `environ` holds.

        Raises:
            SettingsError: one is missing or malformed; an empty token counts as missing.
        """
        if missing := [name for name in _NEEDED if not environ.get(name)]:
            raise SettingsError(f"missing in the environment: {', '.join(missing)}")
        level = environ.get("LOG_LEVEL", "info").lower()
        return cls(
            service_name=environ["SERVICE_NAME"],
            port=_port(environ, "PORT"),
            dapr_http_port=_port(environ, "DAPR_HTTP_PORT"),
            dapr_api_token=environ["DAPR_API_TOKEN"],
            app_api_token=environ["APP_API_TOKEN"],
            host=environ.get("HOST", cls.host),
            database_url=environ.get("DATABASE_URL", ""),
            service_token=environ.get("SERVICE_TOKEN", ""),
            pubsub_name=environ.get("PUBSUB_NAME", cls.pubsub_name),
            state_store_name=environ.get("STATE_STORE_NAME", cls.state_store_name),
            secret_store_name=environ.get("SECRET_STORE_NAME", cls.secret_store_name),
            token_issuer=environ.get("TOKEN_ISSUER", cls.token_issuer),
            token_audience=environ.get("TOKEN_AUDIENCE", cls.token_audience),
            log_level=_one_of("LOG_LEVEL", "warning" if level == "warn" else level, _LEVELS),
            rate_limit_per_second=number(environ, "RATE_LIMIT_PER_SECOND", cls.rate_limit_per_second),
            drain_seconds=number(environ, "DRAIN_SECONDS", cls.drain_seconds),
            graceful_seconds=int(number(environ, "GRACEFUL_SECONDS", cls.graceful_seconds)),
            shares_port=_one_of("SHARE_PORT", environ.get("SHARE_PORT") or "no", ("yes", "no")) == "yes",
            openapi=_one_of("OPENAPI", environ.get("OPENAPI") or "off", ("on", "off")) == "on",
            colour_file=environ.get("COLOUR_FILE", ""),
        )


def number(environ: Mapping[str, str], name: str, default: float) -> float:
    """The number, 0 or more, that `name` holds; `default` where it is not set.

    Raises:
        SettingsError: it is not such a number.
    """
    text = environ.get(name, "")
    try:
        value = float(text) if text else float(default)
    except ValueError as error:
        raise SettingsError(f"{name} is not a number: {text!r}") from error
    if not 0 <= value < 1e9:
        raise SettingsError(f"{name} is out of range: {text!r}")
    return value


def _port(environ: Mapping[str, str], name: str) -> int:
    value = number(environ, name, 0)
    if value != int(value) or not 0 < value < 65536:
        raise SettingsError(f"{name} is not a port: {environ[name]!r}")
    return int(value)


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise SettingsError(f"{name} is {value!r}; use one of {', '.join(allowed)}")
    return value
