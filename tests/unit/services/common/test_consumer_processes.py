"""audit and recurring as programs: what they need, that they serve, that they stop."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import httpx
import pytest

_SERVICES = {"audit": "task-events", "recurring": "task-events", "sync": "task-updates"}
_DEADLINE = 20.0


def environment(service: str, port: int) -> dict[str, str]:
    """The environment of one process; nothing behind it answers."""
    return {
        "PATH": os.environ["PATH"],
        "SERVICE_NAME": service,
        "PORT": str(port),
        "DAPR_HTTP_PORT": str(free_port()),
        "DAPR_API_TOKEN": "dapr-token",
        "APP_API_TOKEN": "app-token",
        "SERVICE_TOKEN": "service-token",
        "ALLOWED_ORIGINS": "http://localhost:8000",
        "DATABASE_URL": f"postgresql://audit:x@127.0.0.1:{free_port()}/todo",
    }


def free_port() -> int:
    """A port that nobody listens on."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(service: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """The service's process, answering on /healthz."""
    command = [sys.executable, "-m", f"services.{service}"]
    with subprocess.Popen(command, env=environment(service, port), stdout=subprocess.DEVNULL) as process:
        try:
            _wait_for_health(process, port)
            yield process
        finally:
            process.kill()


def _wait_for_health(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + _DEADLINE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            continue
    pytest.fail(f"no answer; exit code {process.poll()}")


@pytest.mark.parametrize("service", _SERVICES)
def test_it_serves_without_its_dependencies_and_stops_cleanly(service: str) -> None:
    """Alive at once, not ready and saying why; deliveries wait; SIGTERM ends it with 0."""
    port = free_port()
    with running(service, port) as process, httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
        ready = http.get("/readyz", timeout=20)
        assert ready.status_code == 503
        assert "sidecar" in ready.json()["missing"]
        delivery = http.post(
            f"/events/{_SERVICES[service]}", content=b"x", headers={"dapr-api-token": "app-token"}, timeout=20
        )
        assert delivery.status_code == 200
        # The sidecar is away, so the letter is, so the record stays: RETRY, or no status where there is no entry.
        assert delivery.json() in ({"status": "RETRY"}, {"statuses": []})
        process.send_signal(signal.SIGTERM)
        assert process.wait(_DEADLINE) == 0


@pytest.mark.parametrize(
    ("service", "name"),
    [
        ("audit", "DATABASE_URL"),
        ("audit", "APP_API_TOKEN"),
        ("recurring", "SERVICE_TOKEN"),
        ("recurring", "DAPR_API_TOKEN"),
        ("sync", "SERVICE_TOKEN"),
        ("sync", "ALLOWED_ORIGINS"),
    ],
)
def test_it_says_what_is_missing(service: str, name: str) -> None:
    """A missing setting ends the process at once with its name on stderr."""
    env = environment(service, free_port())
    del env[name]
    command = [sys.executable, "-m", f"services.{service}"]
    ended = subprocess.run(command, env=env, capture_output=True, text=True, timeout=_DEADLINE, check=False)
    assert ended.returncode == 1
    assert f"{service}: " in ended.stderr
    assert name in ended.stderr
    assert "Traceback" not in ended.stderr
