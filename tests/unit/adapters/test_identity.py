"""Processes and ports as the system tells them: who owns what, what was left behind, and ending it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from todoctl.adapters.processes import identity

STUBBORN = (
    "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); sys.stdin.read()"
)


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    """Processes of a test; they are gone afterwards."""
    made: list[subprocess.Popen[str]] = []
    yield made
    for process in made:
        with process:
            process.kill()


def start(started: list[subprocess.Popen[str]], code: str, **variables: str) -> psutil.Process:
    """A Python process that has said that it is ready."""
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", code],
        env={**os.environ, **variables},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    started.append(process)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return psutil.Process(process.pid)


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """A socket of this process that listens on a port of the loopback address."""
    with socket.create_server(("127.0.0.1", 0)) as made:
        yield made


def gone_pid() -> int:
    """The pid of a process that has ended."""
    process = subprocess.Popen(["/bin/true"])
    process.wait()
    return process.pid


@pytest.mark.parametrize(
    ("content", "deaths"),
    [('{"row": 3}', 3), ("{}", 0), ("", 0), ("{", 0), ('{"row": "x"}', 0), (None, 0), ("[]", 0), ('{"row": null}', 0)],
)
def test_early_deaths(tmp_path: Path, content: str | None, deaths: int) -> None:
    """What the launcher counted; an identity that is missing or damaged counts nothing."""
    path = tmp_path / "part.json"
    if content is not None:
        path.write_text(content)
    assert identity.early_deaths(path) == deaths


def test_usage_counts_children(started: list[subprocess.Popen[str]]) -> None:
    """Memory is that of the process and everything below it; a process that is gone has none."""
    child = start(started, "print('ready', flush=True); input()")
    ours = identity.usage(os.getpid())
    assert ours is not None
    assert ours.memory_bytes >= psutil.Process().memory_info().rss / 2 + child.memory_info().rss
    assert ours.started_at == pytest.approx(psutil.Process().create_time())
    assert identity.usage(gone_pid()) is None


def test_a_listening_port_and_its_owner(listening: socket.socket) -> None:
    """A port that somebody listens on is taken, takes connections, and belongs to the listening process."""
    port = listening.getsockname()[1]
    assert not identity.can_bind(port)
    assert identity.accepts(port)
    assert identity.owns_port(os.getpid(), port)
    assert not identity.owns_port(os.getppid(), port)
    assert not identity.owns_port(gone_pid(), port)
    assert identity.listeners({port}) == {port: os.getpid()}


def test_a_free_port(listening: socket.socket) -> None:
    """A port that nobody listens on can be bound and has no owner."""
    port = listening.getsockname()[1]
    listening.close()
    assert identity.can_bind(port)
    assert not identity.accepts(port)
    assert not identity.owns_port(os.getpid(), port)
    assert identity.listeners({port}) == {}


def test_a_port_taken_on_all_addresses_is_taken() -> None:
    """A stranger on 0.0.0.0 takes the loopback port too."""
    with socket.create_server(("0.0.0.0", 0)) as stranger:
        assert not identity.can_bind(stranger.getsockname()[1])


def test_names_for_messages() -> None:
    """A process is named with its pid; one that is gone or hidden still has words."""
    assert identity.name_of(os.getpid()) == f"{psutil.Process().name()} (pid {os.getpid()})"
    pid = gone_pid()
    assert identity.name_of(pid) == f"pid {pid}"
    assert identity.name_of(None) == "another user's process"


def test_survivors_carry_the_mark(tmp_path: Path, started: list[subprocess.Popen[str]]) -> None:
    """Processes of this environment are found, of another one not, nor this process itself."""
    ready = "print('ready', flush=True); input()"
    ours = start(started, ready, **{identity.INSTANCE_VARIABLE: str(tmp_path / "local")})
    start(started, ready, **{identity.INSTANCE_VARIABLE: str(tmp_path / "local2")})
    start(started, ready)
    assert [process.pid for process in identity.survivors(tmp_path / "local")] == [ours.pid]
    assert identity.survivors(tmp_path) == []


def test_ending_asks_first_and_kills_the_stubborn(started: list[subprocess.Popen[str]]) -> None:
    """SIGTERM, then SIGKILL for who is still there; nothing is left."""
    polite = start(started, "print('ready', flush=True); input()")
    stubborn = start(started, STUBBORN)
    assert identity.end([polite, stubborn], seconds=0.3) == []
    # psutil has reaped them, so it knows how they ended.
    assert [getattr(process, "returncode", None) for process in (polite, stubborn)] == [-15, -9]


def test_ending_what_has_ended_is_nothing() -> None:
    """A process that is gone by now is no failure."""
    process = subprocess.Popen(["/bin/sleep", "600"])
    handle = psutil.Process(process.pid)
    process.kill()
    process.wait()
    assert identity.end([handle], seconds=1) == []
    assert identity.wait_gone(process.pid, seconds=1)


def test_waiting_for_the_end_of_a_stranger(started: list[subprocess.Popen[str]]) -> None:
    """A process that stays is told as still there after the deadline."""
    process = start(started, STUBBORN)
    assert not identity.wait_gone(process.pid, seconds=0.1)
    process.kill()
    assert identity.wait_gone(process.pid, seconds=10)


def test_what_a_mark_looks_like(tmp_path: Path, started: list[subprocess.Popen[str]]) -> None:
    """The mark is the folder's path as it is, spaces and all."""
    folder = tmp_path / "a b ü%"
    ours = start(started, "print('ready', flush=True); input()", **{identity.INSTANCE_VARIABLE: str(folder)})
    assert [process.pid for process in identity.survivors(folder)] == [ours.pid]
