"""Attacks 26 and 27: hosts that are none or foreign, other spellings of paths; docs/attacks.md."""

from __future__ import annotations

from tests.unit.services.attacks.wire import request, say
from tests.unit.services.stand import Stand


def test_attack_26_hosts(target: Stand) -> None:
    """A Host that is no host is a 400; a foreign one, or a forwarded one, shows up in no answer and opens nothing."""
    port = target.ports["api"]
    for host in (
        "evil.example/healthz?",
        "evil.example/../healthz#",
        "a@b",
        "x y",
        "",
        "evil.example:99999999",
        "[::1",
        "a,b",
    ):
        heard = say(port, request("GET /internal/users/1/changes HTTP/1.1", host=host))
        assert (heard.statuses, heard.problem["code"]) == ([400], "malformed"), host
    for hosts in ((), ("Host: 127.0.0.1", "Host: evil.example")):
        heard = say(port, request("GET /healthz HTTP/1.1", *hosts, host=None))
        assert (heard.statuses, heard.is_closed) == ([400], True), hosts
    foreign = (
        "X-Forwarded-Host: evil.example",
        "X-Forwarded-Prefix: /internal",
        "X-Original-URL: /healthz",
        "Connection: close",
    )
    for path, status in (("/", 200), ("/api/tasks", 401), ("/internal/users/1/changes", 401), ("/nowhere", 404)):
        heard = say(port, request(f"GET {path} HTTP/1.1", *foreign, host="evil.example"))
        assert heard.statuses == [status], path
        assert b"evil" not in heard.raw
        assert b"\r\nlocation:" not in heard.raw.lower()
    # A target with a host of its own is about its path, too.
    heard = say(port, request("GET http://evil.example/api/tasks HTTP/1.1", "Connection: close"))
    assert heard.statuses == [401]


PATHS = (
    ("//api/tasks", 404),
    ("/api//tasks", 404),
    ("/api/tasks/", 404),
    ("/api/tasks;a=b", 404),
    ("/api/tasks%00", 404),
    ("/api/tasks%2f1", 401),
    ("/api/tasks.", 404),
    ("/API/tasks", 404),
    ("/api/Tasks", 404),
    ("/api/./tasks", 404),
    ("/api/x/../tasks", 404),
    ("/api/%2e%2e/internal/users/1/changes", 404),
    ("/api/..%2finternal/users/1/changes", 404),
    ("/healthz/../internal/users/1/changes", 404),
    ("/%69nternal/users/1/changes", 401),
    ("/internal/users/1/changes?/healthz", 401),
    ("//internal/users/1/changes", 404),
    ("/internal;x/users/1/changes", 404),
    ("/INTERNAL/users/1/changes", 404),
    ("/internal/users/1/changes%20", 404),
    ("/job/..%2f..%2finternal", 404),
    ("/vendor/../../etc/passwd", 404),
    ("/js/..%2f..%2f..%2fcommon/settings.py", 404),
    ("/js/%2e%2e/%2e%2e/api/routes.py", 404),
    ("/static/..%5c..%5cetc", 404),
    ("/\\internal\\users", 404),
)


def test_attack_27_paths(target: Stand) -> None:
    """Another spelling of a path is another path, or needs what the plain one needs."""
    for path, status in PATHS:
        heard = say(target.ports["api"], request(f"GET {path} HTTP/1.1", "Connection: close"))
        assert heard.statuses == [status], (path, heard.raw[:300])
        assert b"root:" not in heard.raw
    # What api passes on to auth and audit is a closed list; nothing of a path or a query leaves it.
    before = len(target.fakes["api"].calls)
    for path in (
        "/api/auth/..%2f..%2finternal/users/1",
        "/api/audit/logs/..%2f..%2fevents",
        "/api/auth/login%2f..",
        "/api/auth/me/",
    ):
        assert target.call("GET", path, user="t27").status_code == 404, path
    tricks = target.call("GET", "/api/audit/logs?limit=1&x=/../../internal%2f..#/x", user="t27")
    assert tricks.status_code == 422
    asked = {call.url.path for call in target.fakes["api"].calls[before:] if "/invoke/" in call.url.path}
    assert asked <= {"/v1.0/invoke/audit/method/api/audit/logs", "/v1.0/invoke/auth/method/.well-known/jwks.json"}
