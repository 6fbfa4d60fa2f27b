"""Fixtures for the tools: a machine without any of them, a server for what it downloads."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.unit.tools.machines import CLOSED, Machine
from todoctl.adapters.tools import pins


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine without any tool and without a way out."""
    for name in ("bin", "home", "fake"):
        (tmp_path / name).mkdir()
    environ = {
        "PATH": f"{tmp_path / 'bin'}:{tmp_path / 'base'}",
        "HOME": str(tmp_path / "home"),
        "FAKE": str(tmp_path / "fake"),
        "PIP_NO_INDEX": "1",
        "M2_REPO": str(tmp_path / "repository"),
    }
    # Scripts need sh's helpers, and no more of this machine's programs.
    (tmp_path / "base").mkdir()
    for name in ("sh", "cp", "sleep", "cat"):
        (tmp_path / "base" / name).symlink_to(Path("/bin") / name)
    ours = Machine(tmp_path, environ, pins.load())
    for name in ours.pins.programs:
        ours = ours.with_program(name, url=CLOSED)
    return ours.with_pins("dapr", url=CLOSED).with_pins("kafka", mirrors={"closed": CLOSED})


@pytest.fixture
def serve() -> Iterator[Callable[[Path], str]]:
    """Serves folders over HTTP on this machine; gives each one's address."""
    servers = []

    def start(folder: Path) -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@pytest.fixture
def masked() -> Iterator[None]:
    """A umask that lets nobody else read what is made."""
    before = os.umask(0o077)
    yield
    os.umask(before)
