"""One environment on one machine: its folders, programs, ports and secrets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from todoctl.core.ports import LOOPBACK
from todoctl.core.values import Values

DATABASE_NAME = "todo"


@dataclass(frozen=True)
class Folders:
    """Where one environment keeps its things."""

    root: Path

    @property
    def config(self) -> Path:
        """Generated configuration files."""
        return self.root / "etc"

    @property
    def data(self) -> Path:
        """What the database, the broker and the scheduler store."""
        return self.root / "data"

    @property
    def logs(self) -> Path:
        """One log file per part."""
        return self.root / "log"

    @property
    def mails(self) -> Path:
        """The mails that the sink keeps."""
        return self.data / "mails"

    @property
    def run(self) -> Path:
        """Identities of running processes."""
        return self.root / "run"


@dataclass(frozen=True)
class Programs:
    """Where the programs are: Java with Kafka's jars, PostgreSQL's bin folder, Dapr's two, Python itself.

    The page's Socket.IO client lies in `web_vendor`; without it the page asks for changes in place of being told.
    """

    java: Path
    kafka_jars: Path
    postgres: Path
    daprd: Path
    scheduler: Path
    python: Path
    web_vendor: Path | None = None


@dataclass(frozen=True)
class Login:
    """An account of the platform's own users: what auth wants to be told."""

    email: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Secrets:
    """Passwords by role, the tokens between services and sidecars, and the account that todoctl itself logs in with.

    An environment that an older todoctl brought up has no account yet.
    """

    passwords: Mapping[str, str]
    app_token: str
    dapr_token: str
    service_token: str
    operator: Login | None = None

    def database_url(self, role: str, port: int) -> str:
        """The libpq URL with which `role` connects."""
        return f"postgresql://{role}:{self.passwords[role]}@{LOOPBACK}:{port}/{DATABASE_NAME}"


@dataclass(frozen=True)
class Site:
    """One environment on one machine: what runs, where its files and ports are, with which programs and secrets."""

    values: Values
    folders: Folders
    ports: Mapping[str, int]
    programs: Programs
    secrets: Secrets
