"""Attacks 21 to 23: SQL, line breaks, markup and terminal escapes in texts; docs/attacks.md."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from email import message_from_bytes, policy
from typing import Any

from services.common.logs import JsonFormatter
from services.notification.mail import Recipient, compose
from tests.unit.services.attacks.wire import request, say
from tests.unit.services.records import MOMENT, event
from tests.unit.services.stand import Stand
from todoctl import screen
from todoctl.core.events import ReminderDetail

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
        made = target.create(user="t21", title=text, description=text, tags=[text[:50]])
        assert (made["title"], made["description"], made["tags"]) == (text, text, [text[:50]])
        for path, params in (("search", {"q": text}), ("filter", {"tags": text[:50]})):
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


LINES = (
    "a\r\nBcc: victim@example.org",
    "a\nBcc: victim@example.org",
    "a\rX: y",
    "a\u2028b",
    "a\x00b",
    "=?utf-8?q?a=0D=0ABcc:_b?=",
)


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
ESCAPES = (
    "\x1b]52;c;ZXZpbA==\x07",
    "\x1b]8;;http://evil.example\x1b\\click\x1b]8;;\x1b\\",
    "\x1b[2J\x1b[1;31m",
    "\x9b2J",
    "\x07\x08",
)


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


def _is_html(part: Any) -> bool:
    return bool(part.get_content_type() == "text/html")
