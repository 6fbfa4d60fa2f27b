"""The public API, sidecars and services over HTTP, and the migrations program: what each answer becomes."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from todoctl.adapters import migrations, sidecar
from todoctl.adapters.api import Addresses, Api, ApiError
from todoctl.errors import TodoctlError, UsageError

AT = Addresses(auth="http://auth", api="http://api", audit="http://audit")


def api(answer: Callable[[httpx.Request], httpx.Response]) -> Api:
    """The API's client in front of a server that is a function."""
    return Api(AT, transport=httpx.MockTransport(answer))


class FakePlatform:
    """Auth, api and audit in memory: accounts, tasks of the one that is logged in."""

    def __init__(self) -> None:
        self.passwords: dict[str, str] = {}
        self.tasks: dict[int, dict[str, object]] = {}
        self.correlations: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content) if request.content else {}
        if request.url.path == "/api/auth/register":
            self.passwords[body["email"]] = body["password"]
            return httpx.Response(201, json={"email": body["email"]})
        if request.url.path == "/api/auth/login":
            if self.passwords.get(body["email"]) != body["password"]:
                return httpx.Response(401, json={"title": "Unauthorized", "detail": "wrong e-mail or password"})
            return httpx.Response(200, json={"access_token": f"token-of-{body['email']}"})
        if request.headers.get("Authorization") != "Bearer token-of-me@example.com":
            return httpx.Response(401, json={"title": "Unauthorized"})
        return self._task(request, body)

    def _task(self, request: httpx.Request, body: dict[str, object]) -> httpx.Response:
        self.correlations += [request.headers["X-Request-ID"]] if "X-Request-ID" in request.headers else []
        number = request.url.path.removeprefix("/api/tasks").strip("/").partition("/")[0]
        if request.method == "POST" and not number:
            task = {"id": len(self.tasks) + 1, **body}
            self.tasks[len(self.tasks) + 1] = task
            return httpx.Response(201, json=task)
        if request.method == "GET":
            return httpx.Response(200, json={"items": list(self.tasks.values())})
        if int(number) not in self.tasks:
            return httpx.Response(404, json={"title": "Not Found", "detail": f"no task {number}"})
        if request.method == "DELETE":
            del self.tasks[int(number)]
            return httpx.Response(204)
        self.tasks[int(number)]["status"] = "completed"
        return httpx.Response(200, json=self.tasks[int(number)])


def test_a_users_way_through_the_api() -> None:
    """Register, log in, create, complete, list, delete; requests carry the token and the correlation id."""
    platform = FakePlatform()
    with api(platform) as client:
        client.register("me@example.com", "pw")
        client.log_in("me@example.com", "pw")
        task = client.create_task({"title": "x"}, correlation="c-1")
        assert client.complete_task(task["id"], correlation="c-2")["status"] == "completed"
        assert [item["id"] for item in client.tasks()] == [task["id"]]
        client.delete_task(task["id"])
        assert client.tasks() == []
    assert platform.correlations == ["c-1", "c-2"]


def test_a_problem_is_an_error_with_its_reason() -> None:
    """Status and detail of the answer are in the message, and the status is on the error."""
    with (
        api(FakePlatform()) as client,
        pytest.raises(ApiError, match="answered 401: wrong e-mail or password") as caught,
    ):
        client.log_in("me@example.com", "pw")
    assert (caught.value.status, caught.value.hint) == (401, "todoctl status")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (httpx.Response(502, text="<html>Bad Gateway"), "answered 502: <html>Bad Gateway"),
        (httpx.Response(500), "answered 500: None"),
        (httpx.Response(200, text="not JSON"), "answered 200: not JSON"),
        (httpx.Response(200, json=[1]), r"answered 200: \[1\]"),
        (httpx.Response(422, json={"title": "Invalid"}), "answered 422: Invalid"),
        (httpx.Response(500, text="x" * 10_000), "answered 500: x{200}$"),
        (httpx.Response(500, content=b"\xff\xfe"), "answered 500: "),
    ],
)
def test_an_answer_that_is_no_document_is_an_error(answer: httpx.Response, said: str) -> None:
    """Whatever a server answers, the error says the status and the beginning of the text."""
    with api(lambda _: answer) as client, pytest.raises(ApiError, match=said):
        client.register("me@example.com", "pw")


def test_no_answer_is_an_error() -> None:
    """A connection that fails is told with its kind; there is no status."""

    def fail(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with api(fail) as client, pytest.raises(ApiError, match="got no answer: ConnectError: refused") as caught:
        client.log_in("me@example.com", "pw")
    assert caught.value.status is None


class Answers(BaseHTTPRequestHandler):
    """A sidecar and a service on one port."""

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        status, body = {
            "/v1.0/healthz/outbound": (204 if query == "appid=api" else 500, b""),
            "/v1.0/metadata": (
                200 if self.headers["dapr-api-token"] == "token" else 401,
                b'{"runtimeVersion": "1.16.0"}',
            ),
            "/good": (200, b"{}"),
            "/problem": (503, b'{"title": "Unavailable", "detail": "the database is away"}'),
            "/text": (500, b"just text"),
            "/list": (500, b"[1, 2]"),
        }[path]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the base class's name
        pass


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The port that Answers answers on."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


def test_a_sidecar_is_ready_for_its_own_app(port: int) -> None:
    """Ready is 204 from the outbound health of the right app; anything else says what it was."""
    assert sidecar.sidecar_is_ready(port, "api") is None
    assert sidecar.sidecar_is_ready(port, "auth") == "healthz/outbound says 500"
    assert sidecar.sidecar_is_ready(1, "api") == "no answer on port 1: ConnectError"


def test_a_running_sidecar_tells_its_version(port: int) -> None:
    """With the token it says which version runs; a wrong token and a closed port tell nothing."""
    assert sidecar.runtime_version(port, "token") == "1.16.0"
    assert sidecar.runtime_version(port, "wrong") is None
    assert sidecar.runtime_version(1, "token") is None


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("good", None),
        ("problem", "503: the database is away"),
        ("text", "500: just text"),
        ("list", "500: [1, 2]"),
    ],
)
def test_a_service_says_why_it_is_not_ready(port: int, path: str, said: str | None) -> None:
    """2xx is good; otherwise the reason of the problem document, or what there is."""
    assert sidecar.answers(f"http://127.0.0.1:{port}/{path}") == said


def test_no_proxy_stands_between_this_machine_and_itself(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy in the caller's environment is not used for addresses on this machine."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert sidecar.answers(f"http://127.0.0.1:{port}/good") is None


def program(folder: Path, script: str) -> Path:
    """A program that stands in for Python: it gets `-P -m services.migrations ARGUMENT…`."""
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_migrations_get_the_url_in_the_environment(tmp_path: Path) -> None:
    """The URL with its password is in the environment only; the last line of stdout is the status."""
    python = program(tmp_path, """echo noise; printf '{"argv": "%s", "url": "%s"}\\n' "$*" "$DATABASE_URL" """)
    told = migrations.run(python, {}, "postgresql://x:pw@h/d", "downgrade", "0001", seconds=10)
    assert told == {"argv": "-P -m services.migrations downgrade 0001", "url": "postgresql://x:pw@h/d"}


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo first >&2; echo last >&2; exit 3", "migrations: upgrade failed"),
        ("true", "did not tell the schema's status"),
        ("echo no JSON", "did not tell the schema's status"),
        ("exec sleep 60", "the migration did not end within 0 s"),
    ],
)
def test_a_migration_that_fails_is_an_error_of_ours(tmp_path: Path, script: str, said: str) -> None:
    """Failing, silence, noise and hanging each have their words."""
    with pytest.raises(TodoctlError, match=said) as caught:
        migrations.run(program(tmp_path, script), {"PATH": "/bin:/usr/bin"}, "postgresql://", "upgrade", seconds=0.3)
    assert caught.value.detail in {(), ("first", "last")}


def test_a_revision_that_is_none_is_wrong_usage(tmp_path: Path) -> None:
    """What the migrations program calls wrong usage is that here too, in its words."""
    script = "echo 'usage: migrations' >&2; echo \"migrations: error: there is no revision '9'\" >&2; exit 2"
    with pytest.raises(UsageError, match="there is no revision '9'"):
        migrations.run(program(tmp_path, script), {"PATH": "/bin:/usr/bin"}, "postgresql://", "downgrade", seconds=10)


def test_the_fingerprint_is_that_of_the_migrations_here() -> None:
    """The same files have the same fingerprint, and there are files."""
    assert migrations.fingerprint() == migrations.fingerprint()
    assert len(migrations.fingerprint()) == 64
    assert migrations.fingerprint() != "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", sys.path
