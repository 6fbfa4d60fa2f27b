"""Attacks 18 to 23, 26 and 27: what lies in bodies, parameters, headers and paths."""

from __future__ import annotations

import io
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from email import message_from_bytes, policy
from typing import Any

from services.common.logs import JsonFormatter
from services.notification.mail import Recipient, compose
from tests.unit.services.attacks.wire import all_closed, request, say
from tests.unit.services.records import MOMENT, event
from tests.unit.services.stand import Stand, until
from todoctl import screen
from todoctl.core.events import ReminderDetail

DUE = "2999-01-01T09:00:00Z"
DRIPS = 20


def test_attack_18_large_and_slow(target: Stand) -> None:
    """Too large is a 413 or a 431, too slow a 408, and nobody else waits meanwhile."""
    port, bearer = target.ports["api"], f"Authorization: Bearer {target.token('t18')}"
    slow = [_slow_head(port) for _ in range(DRIPS)] + [_slow_body(port, bearer) for _ in range(DRIPS)]
    slow.append(socket.create_connection(("127.0.0.1", port), timeout=60))
    finished = threading.Event()
    drip = threading.Thread(target=_drip, args=(slow[:DRIPS], finished))
    drip.start()
    try:
        large = {"content": b"x" * 10_000_000, "headers": {"content-type": "application/json"}}
        for path in ("/api/tasks", "/api/auth/login"):
            assert target.call("POST", path, user="t18", **large).status_code == 413
        chunks = {**large, "content": _chunks()}
        assert target.call("POST", "/api/tasks", user="t18", **chunks).status_code == 413
        head = request("GET /api/tasks HTTP/1.1", bearer, *(f"x{number}: y" for number in range(10_000)))
        assert say(port, head).statuses == [431]
        endless = b"GET / HTTP/1.1\r\nHost: x\r\nx: " + b"y" * 3_000_000
        assert say(port, endless).statuses == [431]
        assert _slowest(target) < 2
        heard = all_closed(slow)
    finally:
        finished.set()
        drip.join(10)
        for link in slow:
            link.close()
    assert all(one.is_closed for one in heard)
    assert {status for one in heard[:-1] for status in one.statuses} == {408}
    assert heard[0].problem["code"] == "too_slow"
    # On the last one nothing was ever asked, so nothing is answered.
    assert heard[-1].raw == b""
    assert target.rows("SELECT 1 FROM api.tasks t JOIN auth.users u ON u.id = t.user_id WHERE u.email LIKE 't18@%'") == []


def _slow_head(port: int) -> socket.socket:
    link = socket.create_connection(("127.0.0.1", port), timeout=60)
    link.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nx-slow: ")
    return link


def _slow_body(port: int, bearer: str) -> socket.socket:
    link = socket.create_connection(("127.0.0.1", port), timeout=60)
    link.sendall(
        request("POST /api/tasks HTTP/1.1", bearer, "Content-Type: application/json", "Content-Length: 100") + b"{"
    )
    return link


def _drip(links: list[socket.socket], finished: threading.Event) -> None:
    while not finished.wait(0.5):
        for link in links:
            try:
                link.send(b"a")
            except OSError:
                continue


def _chunks() -> Iterator[bytes]:
    for _ in range(1000):
        yield b"x" * 10_000


def _slowest(target: Stand) -> float:
    """The longest of many ordinary requests."""
    times = []
    for _ in range(50):
        began = time.perf_counter()
        assert target.call("GET", "/api/tasks", user="t18-other").status_code == 200
        times.append(time.perf_counter() - began)
    return sorted(times)[-2]


def test_attack_19_bombs(target: Stand) -> None:
    """Thousands of tags, endless rules and impossible years are refused at no cost."""
    bombs: list[tuple[dict[str, Any], int]] = [
        ({"tags": [f"t{number}" for number in range(10_000)]}, 422),
        ({"title": "x" * 1_000_000}, 413),
        ({"title": "x" * 100_000}, 422),
        ({"description": "x" * 200_000}, 422),
        ({"recurrence_rule": "FREQ=SECONDLY;COUNT=1000000000"}, 422),
        ({"recurrence_rule": {"frequency": "secondly"}}, 422),
        ({"recurrence_rule": {"frequency": "daily", "count": 10**9}}, 422),
        ({"recurrence_rule": {"frequency": "daily", "interval": 0}}, 422),
        ({"recurrence_rule": {"frequency": "daily", "interval": 10**400}}, 422),
        ({"recurrence_rule": {"frequency": "daily", "until": "0001-01-01"}}, 422),
        ({"recurrence_rule": {"frequency": "weekly", "days_of_week": ["mon"] * 10_000}}, 422),
        ({"due_date": "9999-12-31T23:59:59Z"}, 422),
        ({"due_date": "9999-12-31T23:59:59-12:00"}, 422),
        ({"due_date": "0001-01-01T00:00:00+14:00"}, 422),
        ({"reminder_offset": "PT99999999999S"}, 422),
    ]
    for fields, status in bombs:
        body = {"title": "x", "due_date": DUE, **fields}
        spent = []
        for _ in range(3):
            began = time.process_time()
            answer = target.call("POST", "/api/tasks", user="t19", json=body)
            spent.append(time.process_time() - began)
            assert answer.status_code == status, (str(fields)[:80], answer.text)
        # Client, server and their encoding together; the least of three, because threads of the test count, too.
        assert min(spent) < 0.1, (str(fields)[:80], spent)
    # A rule that is allowed to run for very long costs as little.
    long = {"frequency": "monthly", "interval": 999, "day_of_month": 31, "count": 9999}
    assert target.create(user="t19", due_date="8990-01-31T09:00:00Z", recurrence_rule=long)["occurrence"] == 1


def test_attack_20_zones_and_schedules(target: Stand) -> None:
    """What only looks like a zone or a schedule is a 422; jobs get no name but of a second."""
    zones = ["TZ=UTC", "CRON_TZ=UTC", "x" * 10_000, "../../etc/passwd", "/etc/localtime", "UTC\n* * * * *", "UTC\0"]
    zones += [":UTC", "localtime", "Factory", "posixrules", "Europe/Berlin/../Paris", "europe\\berlin", " UTC", "EST5EDT,M3"]
    for zone in zones:
        answer = target.call("POST", "/api/tasks", user="t20", json={"title": "x", "zone": zone})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "zone"), zone[:40]
        account = {"email": "t20-z@example.org", "password": "long enough", "zone": zone}
        assert target.http.post(target.url("auth", "/api/auth/register"), json=account).status_code == 422, zone[:40]
    for schedule in ("* * * * * *", "@every 1ns", "0 0 31 2 *", "R/PT0S", "P1M", "-PT5M", "PT1e9S", "P" + "1" * 10_000 + "D"):
        for field in ("reminder_offset", "recurrence_rule"):
            body = {"title": "x", "due_date": DUE, field: schedule}
            answer = target.call("POST", "/api/tasks", user="t20", json=body)
            assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field), schedule[:40]
    target.create(user="t20", due_date=DUE, reminder_offset="PT5M")

    def jobs() -> set[str]:
        return {call.url.path for call in target.fakes["api"].calls if "/jobs/" in call.url.path}

    until(jobs)
    assert all(path.rpartition("/")[2].removeprefix("reminders-").isdecimal() for path in jobs())


SQL = (
    "'",
    "' OR '1'='1",
    "'; DROP TABLE api.tasks; --",
    '"; DELETE FROM api.tasks; --',
    "1) OR 1=1 --",
    "\\'; SELECT pg_sleep(5); --",
    "' UNION SELECT email, password_hash FROM auth.users --",
    "$$; SELECT 1; $$",
    "{a}",
    "%27%20OR%201=1",
    "%",
    "_",
    ":user_id",
    "%(user_id)s",
    "${1}",
)


def test_attack_21_sql(target: Stand) -> None:
    """SQL in any string is text, in any other place a 422; no row of anybody shows up, none goes."""
    target.create(user="t21-other", title="nobody else's", tags=["a"])
    target.create(user="t21", title="plain")
    for text in SQL:
        made = target.create(user="t21", title=text, description=text, tags=[text])
        assert (made["title"], made["description"], made["tags"]) == (text, text, [text])
        for path, params in (("search", {"q": text}), ("filter", {"tags": text})):
            found = target.call("GET", f"/api/tasks/{path}", user="t21", params=params)
            texts = {item["title"] for item in found.json()["items"]}
            assert text in texts
            assert texts <= set(SQL), path
        for name in ("sort", "order", "status", "priority", "limit", "offset", "due_from", "due_to", f"q{text}"):
            answer = target.call("GET", "/api/tasks", user="t21", params={name: text})
            assert answer.status_code == 422, (name, text)
        for name in ("user_id", "resource_id", "event_id", "from", "limit"):
            assert target.call("GET", "/api/audit/logs", user="t21", params={name: text}).status_code == 422, name
        for name in ("action_type", "resource_type", "correlation_id"):
            answer = target.call("GET", "/api/audit/logs", user="t21", params={name: text})
            assert (answer.status_code, answer.json()["total"]) == (200, 0), (name, text)
        login = {"email": text, "password": text}
        assert target.http.post(target.url("auth", "/api/auth/login"), json=login).status_code == 422
        login["email"] = "t21@example.org"
        assert target.http.post(target.url("auth", "/api/auth/login"), json=login).status_code == 401
        keyed = target.call("DELETE", f"/api/tasks/{made['id']}", user="t21", headers={"idempotency-key": text})
        assert keyed.status_code == 204
    assert target.call("GET", "/api/tasks", user="t21").json()["total"] == 1
    assert target.call("GET", "/api/tasks", user="t21-other").json()["total"] == 1
    # The pieces of a path that is made of one.
    assert target.call("GET", "/api/tasks/1;DROP TABLE api.tasks", user="t21").status_code == 422


LINES = ("a\r\nBcc: victim@example.org", "a\nBcc: victim@example.org", "a\rX: y", "a\u2028b", "a\x00b", "=?utf-8?q?a=0D=0ABcc:_b?=")


def test_attack_22_headers_and_lines(target: Stand) -> None:
    """Line breaks in a title are a 422; past the API a mail still has one subject and one recipient, a log one line."""
    for text in ("a\r\nBcc: x@y", "a\nb", "a\rb", "a\x00b", "a\x1b[2Jb", "a\x85b"):
        for body in ({"title": text}, {"title": "x", "tags": [text]}):
            assert target.call("POST", "/api/tasks", user="t22", json=body).status_code == 422, text
    for text in LINES:
        detail = ReminderDetail(reminder_id=9, trigger_at=MOMENT, due_date=MOMENT, title=text, description=text)
        mail = compose(
            event("reminders", payload=detail),
            Recipient("ann@example.org", "UTC"),
            sender="Todo <todo@example.org>",
            link="http://127.0.0.1/",
            now=MOMENT,
        )
        parsed = message_from_bytes(mail.content, policy=policy.default)
        assert (mail.recipient, parsed["To"], parsed.get_all("Bcc")) == ("ann@example.org", "ann@example.org", None)
        assert len(parsed.get_all("Subject") or []) == 1
        assert not set("\r\n\x00\u2028") & set(str(parsed["Subject"]))
        record = logging.LogRecord("x", logging.INFO, "x", 1, "%s", (text,), None)
        assert JsonFormatter("api").format(record).isascii()
        assert len(JsonFormatter("api").format(record).splitlines()) == 1
    for value in ("a b", "a\tb", "x" * 65, "<script>", "a,b", "a;b"):
        answer = target.http.get(target.url("api", "/healthz"), headers={"x-request-id": value})
        assert answer.headers["x-request-id"] != value
        assert len(answer.headers["x-request-id"]) == 32
    split = say(target.ports["api"], request("GET /%0d%0aSet-Cookie:%20a=b HTTP/1.1", "Connection: close"))
    assert split.statuses == [404]
    assert b"set-cookie" not in split.raw.lower()


MARKUP = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "javascript:alert(1)",
    "{{7*7}}${7*7}<%= 7*7 %>",
    "</title><svg onload=alert(1)>",
)
ESCAPES = ("\x1b]52;c;ZXZpbA==\x07", "\x1b]8;;http://evil.example\x1b\\click\x1b]8;;\x1b\\", "\x1b[2J\x1b[1;31m", "\x9b2J", "\x07\x08")


def test_attack_23_markup(target: Stand) -> None:
    """Markup is text everywhere: in answers, mails and the page; escapes of a terminal are shown, not obeyed."""
    for text in MARKUP:
        made = target.create(user="t23", title=text, description=text)
        answer = target.call("GET", f"/api/tasks/{made['id']}", user="t23")
        assert answer.json()["title"] == text
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["x-content-type-options"] == "nosniff"
        detail = ReminderDetail(reminder_id=9, trigger_at=MOMENT, due_date=MOMENT, title=text, description=text)
        mail = compose(
            event("reminders", payload=detail),
            Recipient("ann@example.org", "UTC"),
            sender="todo@example.org",
            link="http://127.0.0.1/",
            now=datetime.now(UTC),
        )
        [html] = [part for part in message_from_bytes(mail.content, policy=policy.default).walk() if _is_html(part)]
        shown = html.get_content()
        assert not [tag for tag in ("<script", "<img src=x", "<svg", "</title><svg") if tag in shown]
        assert "49" not in shown.replace("2049", "")
    page = target.http.get(target.url("api", "/"))
    rules = page.headers["content-security-policy"]
    assert "script-src 'self'" in rules
    assert "unsafe" not in rules
    assert "require-trusted-types-for 'script'" in rules
    for text in ESCAPES:
        assert target.call("POST", "/api/tasks", user="t23", json={"title": text}).status_code == 422
        shown = screen.clean(text)
        assert not set("\x1b\x9b\x07\x08") & set(shown)
    stream = io.StringIO()
    print(json.dumps({"title": ESCAPES[0]}), file=stream)
    assert "\x1b" not in stream.getvalue()


def _is_html(part: Any) -> bool:
    return bool(part.get_content_type() == "text/html")


def test_attack_26_hosts(target: Stand) -> None:
    """A Host that is no host is a 400; a foreign one, or a forwarded one, shows up in no answer and opens nothing."""
    port = target.ports["api"]
    for host in ("evil.example/healthz?", "evil.example/../healthz#", "a@b", "x y", "", "evil.example:99999999", "[::1", "a,b"):
        heard = say(port, request("GET /internal/users/1/changes HTTP/1.1", host=host))
        assert (heard.statuses, heard.problem["code"]) == ([400], "malformed"), host
    for hosts in ((), ("Host: 127.0.0.1", "Host: evil.example")):
        heard = say(port, request("GET /healthz HTTP/1.1", *hosts, host=None))
        assert (heard.statuses, heard.is_closed) == ([400], True), hosts
    foreign = ("X-Forwarded-Host: evil.example", "X-Forwarded-Prefix: /internal", "X-Original-URL: /healthz", "Connection: close")
    for path, status in (("/", 200), ("/api/tasks", 401), ("/internal/users/1/changes", 401), ("/nowhere", 404)):
        heard = say(port, request(f"GET {path} HTTP/1.1", *foreign, host="evil.example"))
        assert heard.statuses == [status], path
        assert b"evil" not in heard.raw
        assert b"location" not in heard.raw.lower()
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
    for path in ("/api/auth/..%2f..%2finternal/users/1", "/api/audit/logs/..%2f..%2fevents", "/api/auth/login%2f..", "/api/auth/me/"):
        assert target.call("GET", path, user="t27").status_code == 404, path
    tricks = target.call("GET", "/api/audit/logs?limit=1&x=/../../internal%2f..#/x", user="t27")
    assert tricks.status_code == 422
    asked = {call.url.path for call in target.fakes["api"].calls[before:] if "/invoke/" in call.url.path}
    assert asked <= {"/v1.0/invoke/audit/method/api/audit/logs", "/v1.0/invoke/auth/method/.well-known/jwks.json"}
