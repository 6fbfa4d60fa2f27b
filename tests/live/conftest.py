"""One real platform for all live tests of a run: brought up by `todoctl up`, taken down by `todoctl down --purge`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.live.broker import KafkaServer, kafka_server
from tests.live.desk import Desk, remake
from tests.program import Ended


@dataclass(frozen=True)
class Platform:
    """A home of its own, and todoctl as a user runs it."""

    home: Path

    @property
    def environ(self) -> dict[str, str]:
        hidden = {"TODOCTL_ENVIRONMENT", "TODOCTL_CONFIG", "TODOCTL_HOME"}
        kept = {name: value for name, value in os.environ.items() if name not in hidden}
        return kept | {"TODOCTL_HOME": str(self.home), "TZ": "UTC", "PYTHONFAULTHANDLER": "1"}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """The command, started."""
        return subprocess.Popen(
            [sys.executable, "-m", "todoctl", *arguments],
            env=self.environ,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, seconds: float = 300) -> Ended:
        """The command, finished."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=seconds)
        return Ended(process.returncode, out, err)

    def must(self, *arguments: str, seconds: float = 300) -> Ended:
        """The command, finished with exit code 0."""
        result = self.run(*arguments, seconds=seconds)
        assert result.code == 0, f"todoctl {' '.join(arguments)} ended with {result.code}:\n{result.err}\n{result.out}"
        return result

    def parts(self) -> dict[str, dict[str, Any]]:
        """Part → its row in `status -o json`, whatever the health."""
        return {part["name"]: part for part in self.run("status", "-o", "json").json()["parts"]}

    def port(self, name: str) -> int:
        return int(json.loads((self.home / "local" / "state.json").read_text())["ports"][name])

    def secrets(self) -> dict[str, Any]:
        return dict(json.loads((self.home / "local" / "secrets.json").read_text()))

    def url(self, service: str) -> str:
        return f"http://127.0.0.1:{self.port(service)}"

    def database(self, role: str) -> str:
        password = self.secrets()["passwords"][role]
        name = "postgres" if role == "postgres" else "todo"
        return f"postgresql://{role}:{password}@127.0.0.1:{self.port('postgres')}/{name}"

    def processes(self) -> list[psutil.Process]:
        """Every process that carries this home's mark."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("TODOCTL_INSTANCE") == str(self.home / "local"):
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found


def until(seconds: float, look: Callable[[], Any], what: str) -> Any:
    """What `look` gives once it is true; looks again until the deadline, then fails with what it saw last."""
    deadline = time.monotonic() + seconds
    pause = 0.05
    while True:
        seen = look()
        if seen:
            return seen
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}; seen last: {seen!r}"
        threading.Event().wait(pause)
        pause = min(0.5, pause * 1.3)


def _new_home() -> Path:
    # Directly under /tmp: as root PostgreSQL's user must be able to pass, which pytest's own folders forbid.
    return Path(tempfile.mkdtemp(prefix="todoctl-live-", dir="/tmp"))


@pytest.fixture(scope="session")
def platform() -> Iterator[Platform]:
    """The platform, up and proven by its smoke test."""
    made = Platform(_new_home())
    try:
        # A machine that others use too may need minutes for one part.
        made.must("up", "--timeout", "600", seconds=1800)
        yield made
    finally:
        result = made.run("down", "--purge", "--yes")
        left = made.processes()
        shutil.rmtree(made.home, ignore_errors=True)
        assert result.code == 0, result.err
        assert not left, f"left behind: {left}"


@pytest.fixture
def own_platform() -> Iterator[Platform]:
    """A platform of the test's own, not yet up; taken down afterwards whatever happened."""
    made = Platform(_new_home())
    try:
        yield made
    finally:
        made.run("down", "--purge", "--yes")
        left = made.processes()
        shutil.rmtree(made.home, ignore_errors=True)
        assert not left, f"left behind: {left}"


@pytest.fixture(scope="session")
def kafka() -> Iterator[KafkaServer]:
    """A broker alone, shared by every test that needs no platform: topics of a test have names of their own."""
    with kafka_server() as server:
        yield server


@pytest.fixture
def own_kafka() -> Iterator[KafkaServer]:
    """A broker of the test's own, to be stopped, paused or killed."""
    with kafka_server() as server:
        yield server


@pytest.fixture(scope="module")
def server() -> Iterator[KafkaServer]:
    """A broker of the module's own, whose topics may have the platform's names."""
    with kafka_server() as found:
        yield found


@pytest.fixture
def desk(server: KafkaServer, tmp_path: Path) -> Desk:
    """The platform's topics, made anew and empty."""
    remake(server)
    return Desk(server, tmp_path)
