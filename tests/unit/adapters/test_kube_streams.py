"""Streams into pods, against a server that speaks as the API server does."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http import HTTPStatus

import pytest
from websockets.frames import Opcode
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve
from websockets.utils import accept_key

from tests.program import until
from todoctl.adapters.kube.access import Access
from todoctl.adapters.kube.answers import ForbiddenError, KubeError, UnreachableError
from todoctl.adapters.kube.streams import Streams, Target
from todoctl.errors import TodoctlError

TARGET = Target("todo", "api-1", 8000)
Handler = Callable[[ServerConnection], None]


class ApiServer:
    """Hands each stream to `handle`; `paths` has what was asked for."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.handle: Handler = echo
        self.refusal: tuple[int, str] | None = None
        self.server: Server = serve(
            self._serve,
            "127.0.0.1",
            0,
            subprotocols=["v4.channel.k8s.io"],
            process_request=self._check,  # type: ignore[list-item]
        )
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def access(self) -> Access:
        """How it is reached."""
        port = self.server.socket.getsockname()[1]
        return Access("test", f"http://127.0.0.1:{port}", authorization=lambda: "Bearer token")

    def _check(self, connection: ServerConnection, request: Request) -> Response | None:
        assert request.headers["authorization"] == "Bearer token"
        self.paths.append(request.path)
        if self.refusal is None:
            return None
        status, message = self.refusal
        return connection.respond(HTTPStatus(status), json.dumps({"message": message}))

    def _serve(self, connection: ServerConnection) -> None:
        self.handle(connection)


def echo(link: ServerConnection) -> None:
    """A port that says what it hears: both channels begin with the port, as the kubelet's do."""
    for channel in (0, 1):
        link.send(bytes([channel]) + (8000).to_bytes(2, "little"))
    for frame in link:
        assert isinstance(frame, bytes)
        link.send(frame)


@pytest.fixture
def server() -> Iterator[ApiServer]:
    """An API server."""
    made = ApiServer()
    yield made
    made.server.shutdown()
    made.thread.join(10)


@pytest.fixture
def streams(server: ApiServer) -> Iterator[Streams]:
    """Streams into its pods."""
    with Streams(server.access) as made:
        yield made


def test_a_port_carries_bytes_both_ways(server: ApiServer, streams: Streams) -> None:
    """More than fits any buffer, unchanged, on several connections at once; each is a stream of its own."""
    port = streams.forward(lambda: TARGET)
    data = bytes(range(256)) * 8_000
    links = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(3)]
    for link in links:
        threading.Thread(target=link.sendall, args=(data,), daemon=True).start()
    for link in links:
        with link, link.makefile("rb") as reader:
            assert reader.read(len(data)) == data
    assert server.paths == ["/api/v1/namespaces/todo/pods/api-1/portforward?ports=8000"] * 3


def test_the_pod_is_asked_for_anew_with_each_connection(server: ApiServer, streams: Streams) -> None:
    """So that a rolling update is followed."""
    pods = iter(("old", "new"))
    port = streams.forward(lambda: Target("todo", next(pods), 8000))
    for _ in range(2):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as link:
            link.sendall(b"x")
            assert link.recv(1) == b"x"
    assert [path.split("/")[6] for path in server.paths] == ["old", "new"]


def test_what_the_kubelet_says_ends_the_connection_and_is_kept(server: ApiServer, streams: Streams) -> None:
    """Nobody listens on the port: the connection ends, and the reason can be told."""

    def refuse(link: ServerConnection) -> None:
        for channel in (0, 1):
            link.send(bytes([channel]) + (8000).to_bytes(2, "little"))
        link.send(b"\x01connection refused")

    server.handle = refuse
    with socket.create_connection(("127.0.0.1", streams.forward(lambda: TARGET)), timeout=10) as link:
        assert link.recv(1) == b""
    until(lambda: streams.complaints == ["connection refused"], "the reason")


def test_a_pod_that_is_gone_ends_the_connection(streams: Streams) -> None:
    """Whoever says where to go may say that there is nowhere."""

    def nowhere() -> Target:
        raise TodoctlError("no pod is ready")

    with socket.create_connection(("127.0.0.1", streams.forward(nowhere)), timeout=10) as link:
        assert link.recv(1) == b""
    until(lambda: streams.complaints == ["no pod is ready"], "the reason")


def test_close_ends_what_is_open(server: ApiServer) -> None:
    """Ports and connections; a second time changes nothing."""
    streams = Streams(server.access)
    port = streams.forward(lambda: TARGET)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as link:
        link.sendall(b"x")
        assert link.recv(1) == b"x"
        streams.close()
        assert link.recv(1) == b""
    streams.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=10)


def test_a_goodbye_that_nobody_answers_ends_with_the_rest() -> None:
    """The API server may be busy: its end of the connection is closed all the same, and at once."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        access = Access("test", f"http://127.0.0.1:{listening.getsockname()[1]}", authorization=lambda: "Bearer token")
        streams = Streams(access)
        link = socket.create_connection(("127.0.0.1", streams.forward(lambda: TARGET)), timeout=10)
        silent, _ = listening.accept()
        with silent, link:
            silent.settimeout(10)
            _accept(silent)
            link.sendall(b"x")
            assert silent.recv(1024)[0] & 0x0F == Opcode.BINARY
            link.close()
            assert silent.recv(1024)[0] & 0x0F == Opcode.CLOSE
            streams.close()
            with suppress(ConnectionResetError):
                assert silent.recv(1) == b""


def _accept(link: socket.socket) -> None:
    """Agree to speak WebSocket, and say nothing more."""
    head = b""
    while b"\r\n\r\n" not in head:
        head += link.recv(1024)
    key = re.search(rb"Sec-WebSocket-Key: (.*)\r", head)
    assert key is not None
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accept_key(key[1].decode())}",
        "Sec-WebSocket-Protocol: v4.channel.k8s.io",
    ]
    link.sendall("\r\n".join([*lines, "", ""]).encode())


def test_a_program_says_what_it_says(server: ApiServer, streams: Streams) -> None:
    """Its stdout alone, in as many pieces as it came in."""

    def run(link: ServerConnection) -> None:
        for frame in (b"\x01", b"\x01one ", b"\x02aside", b"\x01two", b'\x03{"status":"Success"}'):
            link.send(frame)

    server.handle = run
    assert streams.run("todo", "api-1", "app", ["echo", "a b"]) == b"one two"
    query = "command=echo&command=a+b&container=app&stdout=true&stderr=true"
    assert server.paths == [f"/api/v1/namespaces/todo/pods/api-1/exec?{query}"]


def test_a_program_that_fails(server: ApiServer, streams: Streams) -> None:
    """What it said last is the detail; a connection that is cut is a failure, too, and so is one that never ends."""
    failure = {"status": "Failure", "message": "command terminated with non-zero exit code"}

    def run(link: ServerConnection) -> None:
        link.send(b"\x02no such file\n")
        link.send(b"\x03" + json.dumps(failure).encode())

    server.handle = run
    with pytest.raises(KubeError, match="cat in todo/api-1: command terminated") as caught:
        streams.run("todo", "api-1", "app", ["cat", "x"])
    assert caught.value.detail == ("no such file",)
    server.handle = lambda _link: None
    with pytest.raises(KubeError, match="the connection was cut"):
        streams.run("todo", "api-1", "app", ["cat", "x"])
    server.handle = lambda link: list(link) and None
    with pytest.raises(TodoctlError, match="did not end within 0 s"):
        streams.run("todo", "api-1", "app", ["cat", "x"], seconds=0.2)


def test_who_may_not_is_told(server: ApiServer, streams: Streams) -> None:
    """By the server's own words."""
    server.refusal = (403, 'pods "api-1" is forbidden: User "me" cannot create resource "pods/exec"')
    with pytest.raises(ForbiddenError, match='cannot create resource "pods/exec"'):
        streams.run("todo", "api-1", "app", ["cat"])
    server.refusal = (404, 'pods "api-1" not found')
    with pytest.raises(KubeError, match='pods "api-1" not found'):
        streams.run("todo", "api-1", "app", ["cat"])


def test_a_server_that_is_away() -> None:
    """As with every other question to it."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        address = f"http://127.0.0.1:{gone.getsockname()[1]}"
    with Streams(Access("test", address)) as streams, pytest.raises(UnreachableError, match="can't be reached"):
        streams.run("todo", "api-1", "app", ["cat"])
