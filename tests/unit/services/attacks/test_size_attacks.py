"""Attacks 18 to 20: too much, too slow, and what only looks like a zone or a schedule; docs/attacks.md."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

from tests.unit.services.attacks.wire import all_closed, request, say
from tests.unit.services.stand import Stand, until

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
    assert (
        target.rows("SELECT 1 FROM api.tasks t JOIN auth.users u ON u.id = t.user_id WHERE u.email LIKE 't18@%%'") == []
    )


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
    zones += [
        ":UTC",
        "localtime",
        "Factory",
        "posixrules",
        "Europe/Berlin/../Paris",
        "europe\\berlin",
        " UTC",
        "EST5EDT,M3",
    ]
    for zone in zones:
        answer = target.call("POST", "/api/tasks", user="t20", json={"title": "x", "zone": zone})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "zone"), zone[:40]
        account = {"email": "t20-z@example.org", "password": "long enough", "zone": zone}
        assert target.http.post(target.url("auth", "/api/auth/register"), json=account).status_code == 422, zone[:40]
    for schedule in (
        "* * * * * *",
        "@every 1ns",
        "0 0 31 2 *",
        "R/PT0S",
        "P1M",
        "-PT5M",
        "PT1e9S",
        "P" + "1" * 10_000 + "D",
    ):
        for field in ("reminder_offset", "recurrence_rule"):
            body = {"title": "x", "due_date": DUE, field: schedule}
            answer = target.call("POST", "/api/tasks", user="t20", json=body)
            assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field), schedule[:40]
    target.create(user="t20", due_date=DUE, reminder_offset="PT5M")

    def jobs() -> set[str]:
        return {call.url.path for call in target.fakes["api"].calls if "/jobs/" in call.url.path}

    until(jobs)
    assert all(path.rpartition("/")[2].removeprefix("reminders-").isdecimal() for path in jobs())
