"""Serving and stopping, with a real process: `python -m services.auth` on a real database."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx
import psutil
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
        try:
            return self.process.communicate(timeout=60)[0]
        finally:
            self.process.kill()


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


@pytest.fixture
def running(todo: TodoDatabase) -> Iterator[Process]:
    """A service that just runs."""
    process = Process(todo)
    process.wait_until_it_answers()
    yield process
    process.process.kill()
    process.end()


def said(port: int, *pieces: bytes) -> bytes:
    """The first line that comes back for raw bytes."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as link:
        with suppress(ConnectionError):
            for piece in pieces:
                link.sendall(piece)
        with suppress(ConnectionError):
            return link.recv(4096).partition(b"\r\n")[0]
    return b""


def test_hostile_heads(running: Process) -> None:
    """Whatever comes instead of HTTP gets a 4xx, at no size, and the service goes on."""
    rest = b"Host: x\r\n\r\n"
    asked = {
        b"GET /healthz HTTP/1.1\r\n" + rest: b"200",
        b"garbage\r\n\r\n": b"400",
        b"GET /\xff HTTP/1.1\r\n" + rest: b"400",
        b"GET /%ff%00 HTTP/1.1\r\n" + rest: b"404",
        b"GET //healthz/../x HTTP/1.1\r\n" + rest: b"404",
        b"CONNECT x:1 HTTP/1.1\r\n" + rest: b"40",
        b"OPTIONS * HTTP/1.1\r\n" + rest: b"40",
        b"GET http:///// HTTP/1.1\r\n" + rest: b"40",
        b"POST /api/auth/login HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n" + rest: b"400",
        b"POST /api/auth/login HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n" + rest: b"400",
        b"POST /api/auth/login HTTP/1.1\r\nContent-Length: -1\r\n" + rest: b"400",
        b"POST /api/auth/login HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n" + rest: b"4",
        b"GET / HTTP/1.1\r\n" + b"".join(b"x%d: y\r\n" % n for n in range(300_000)) + rest: b"431",
        b"GET / HTTP/1.1\r\nx: " + b"y" * 4_000_000 + b"\r\n" + rest: b"431",
        b"GET /" + b"y" * 4_000_000 + b" HTTP/1.1\r\n" + rest: b"4",
    }
    found = {request[:60]: said(running.port, request) for request in asked}
    wrong = {
        request[:60]: found[request[:60]]
        for request, status in asked.items()
        if not found[request[:60]].startswith(b"HTTP/1.1 " + status)
    }
    assert not wrong
    assert running.get("/healthz").status_code == 200


def test_a_megabyte_of_token(running: Process) -> None:
    """A token of a megabyte is a 401 like any other that is wrong, at once."""
    started = time.monotonic()
    response = running.http.get("/api/auth/me", headers={"authorization": "Bearer " + "a" * 1_000_000})
    assert response.status_code == 401
    assert "www-authenticate" in response.headers
    assert time.monotonic() - started < 10


def test_a_newer_process_takes_over_without_a_gap(todo: TodoDatabase) -> None:
    """While a second process joins on the port and the first one ends, no request fails, on kept and new connections."""
    old = Process(todo, SHARE_PORT="yes", DRAIN_SECONDS="0.5")
    old.wait_until_it_answers()
    over = threading.Event()
    with ThreadPoolExecutor(max_workers=4) as pool:
        kept = [pool.submit(asked_until, over, old.port, keep=True) for _ in range(2)]
        fresh = [pool.submit(asked_until, over, old.port, keep=False) for _ in range(2)]
        new = Process(todo, SHARE_PORT="yes", PORT=str(old.port))
        try:
            until_listening(new)
            old.process.send_signal(signal.SIGTERM)
            old.end()
        finally:
            over.wait(0.3)
            over.set()
        counts = [future.result() for future in (*kept, *fresh)]
    new.process.kill()
    new.end()
    assert old.process.returncode == 0
    assert min(counts) > 20, counts


def until_listening(process: Process) -> None:
    """Return once the process itself listens."""
    deadline = time.monotonic() + 120
    while not any(link.status == "LISTEN" for link in psutil.Process(process.process.pid).net_connections("tcp")):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def asked_until(over: threading.Event, port: int, *, keep: bool) -> int:
    """How many requests were answered; the first that is not raises."""
    answered = 0
    limits = httpx.Limits(max_keepalive_connections=None if keep else 0)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, limits=limits, timeout=10) as http:
        while not over.wait(0.002):
            assert http.get("/healthz").status_code == 200
            answered += 1
    return answered
