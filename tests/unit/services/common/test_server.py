"""Serving and stopping, with a real process: `python -m services.auth` on a real database."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import httpx
import pytest

from tests.unit.services.postgres_server import TodoDatabase, free_port

READY = {"sidecar": "the sidecar is not ready"}


class Process:
    """The service as supervisord or Kubernetes would start it."""

    def __init__(self, todo: TodoDatabase, **environ: str) -> None:
        self.port = free_port()
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", trust_env=False, verify=False, timeout=5)
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "services.auth"],
            env={
                **os.environ,
                "SERVICE_NAME": "auth",
                "PORT": str(self.port),
                "DAPR_HTTP_PORT": "1",
                "DAPR_API_TOKEN": "d",
                "APP_API_TOKEN": "a",
                "DATABASE_URL": todo.url("auth"),
                **environ,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def get(self, path: str) -> httpx.Response:
        return self.http.get(path)

    def wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + 30
        while True:
            try:
                self.get("/healthz")
            except httpx.TransportError:
                assert time.monotonic() < deadline
                # A process that ends meanwhile is told by its output.
                with suppress(subprocess.TimeoutExpired):
                    raise AssertionError(self.process.communicate(timeout=0.05)[0]) from None
            else:
                return

    def end(self) -> str:
        """Its output, once it has ended."""
        self.http.close()
        output, _ = self.process.communicate(timeout=15)
        return output


@pytest.fixture
def draining(todo: TodoDatabase) -> Iterator[Process]:
    """A service that says for two seconds that it will stop."""
    process = Process(todo, DRAIN_SECONDS="2")
    process.wait_until_it_answers()
    yield process
    process.process.kill()
    process.end()


def test_a_stop_is_announced(draining: Process) -> None:
    """After SIGTERM it says that it is stopping and still answers; then it ends with exit code 0."""
    assert draining.get("/readyz").json()["missing"] == READY
    draining.process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + 1.5
    while "process" not in (missing := draining.get("/readyz").json()["missing"]):
        assert time.monotonic() < deadline, missing
    assert draining.get("/.well-known/jwks.json").status_code == 200
    lines = [json.loads(line) for line in draining.end().splitlines()]
    assert draining.process.returncode == 0
    assert {line["service"] for line in lines} == {"auth"}


def test_a_running_request_finishes(todo: TodoDatabase) -> None:
    """A request that is being answered when SIGTERM comes gets its answer."""
    process = Process(todo)
    process.wait_until_it_answers()
    body = b'{"email": "ann@example.org", "password": "correct horse"}'
    status = interrupted_post(process.port, body, lambda: process.process.send_signal(signal.SIGTERM))
    assert status == 201
    process.end()
    assert process.process.returncode == 0


def interrupted_post(port: int, body: bytes, middle: Callable[[], None]) -> int:
    """The status of a request whose body is finished only after `middle` was called."""
    link = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    link.putrequest("POST", "/api/auth/register")
    link.putheader("content-type", "application/json")
    link.putheader("content-length", str(len(body)))
    link.endheaders(body[:10])
    middle()
    link.send(body[10:])
    status = link.getresponse().status
    link.close()
    return status


def test_a_setting_is_missing(todo: TodoDatabase) -> None:
    """A service that can't understand its settings names the one, without a traceback, and ends with 1."""
    process = Process(todo, APP_API_TOKEN="")
    output = process.end()
    assert process.process.returncode == 1
    assert output.startswith("auth: missing in the environment: APP_API_TOKEN")


def test_the_port_is_taken(todo: TodoDatabase, draining: Process) -> None:
    """A second service on the same port ends, not with 0, and says why."""
    second = Process(todo, PORT=str(draining.port))
    output = second.end()
    assert second.process.returncode not in {0, None}
    assert "address already in use" in output
