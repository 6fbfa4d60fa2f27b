"""Recurring tasks are completed while every part is killed in turn: nothing lost, nothing twice."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack

import psutil
import pytest

from tests.live.conftest import Platform, until
from tests.live.users import User, pause, recurring, register

VICTIMS = (
    *("api", "recurring", "notification", "audit", "auth", "sync"),
    *("api-daprd", "recurring-daprd", "notification-daprd", "audit-daprd", "auth-daprd", "sync-daprd"),
    *("kafka", "postgres", "scheduler"),
)
_DOUBT = 30  # seconds after the last kill in which everything must be settled


def test_nothing_is_lost_or_doubled_under_kills(platform: Platform, request: pytest.FixtureRequest) -> None:
    """Each acknowledged completion has exactly one next occurrence and exactly its audit rows."""
    count, clients = request.config.getoption("--kill-tasks"), request.config.getoption("--kill-clients")
    with ExitStack() as stack:
        users = [stack.enter_context(register(platform)) for _ in range(clients)]
        shares = [range(number, count, clients) for number in range(clients)]
        over = threading.Event()
        with ThreadPoolExecutor(max_workers=clients + 1) as pool:
            killer = pool.submit(_kill_in_turn, platform, over)
            work = [pool.submit(_complete_all, user, share, over) for user, share in zip(users, shares, strict=True)]
            killed = _join(killer, work, over)
        assert set(killed) == set(VICTIMS)
        assert sum(len(user.completed) for user in users) >= count
        until(_DOUBT, lambda: all(_settled(user) for user in users), "each completion with its successor and its rows")
        for user in users:
            _assert_exact(user)
    until(30, lambda: platform.run("status", "-o", "json").json()["healthy"], "a healthy platform")


def _complete_all(user: User, share: range, over: threading.Event) -> None:
    """Create and complete the user's share, spread over the time that the kills take, and one more after the last."""
    for number in share:
        user.complete(user.create(**recurring(number))["id"])
        pause(0.05)
    while not over.wait(0.5):
        user.complete(user.create(**recurring(-1))["id"])


def _kill_in_turn(platform: Platform, over: threading.Event) -> list[str]:
    killed = []
    try:
        for name in VICTIMS:
            pid = until(60, lambda name=name: platform.parts()[name]["pid"], f"{name} running")  # type: ignore[misc]
            os.kill(pid, signal.SIGKILL)
            killed.append(name)
            until(60, lambda pid=pid, name=name: _replaced(platform, name, pid), f"{name} running again")  # type: ignore[misc]
    finally:
        over.set()
    return killed


def _replaced(platform: Platform, name: str, pid: int) -> bool:
    now = platform.parts()[name]["pid"]
    return now is not None and now != pid and psutil.pid_exists(now)


def _join(killer: Future[list[str]], work: list[Future[None]], over: threading.Event) -> list[str]:
    try:
        killed = killer.result()
        for future in work:
            future.result()
    finally:
        over.set()
    return killed


def _settled(user: User) -> bool:
    parents = {task["parent_task_id"] for task in user.tasks()}
    return set(user.completed) <= parents and len(user.audit()) >= _expected_rows(user)


def _expected_rows(user: User) -> int:
    """Created, completed, and the successor created: each once as an event and once as an update."""
    return 3 * 2 * len(user.completed)


def _assert_exact(user: User) -> None:
    tasks = user.tasks()
    successors = Counter(task["parent_task_id"] for task in tasks if task["parent_task_id"] is not None)
    assert successors == Counter(user.completed)
    assert len(tasks) == 2 * len(user.completed)
    rows = Counter((row["topic"], row["action_type"], int(row["resource_id"])) for row in user.audit())
    expected: Counter[tuple[str, str, int]] = Counter()
    for task in tasks:
        expected["task-events", "task.created", task["id"]] += 1
        expected["task-updates", "task.sync", task["id"]] += 2 if task["id"] in set(user.completed) else 1
    for task_id in user.completed:
        expected["task-events", "task.completed", task_id] += 1
    assert rows == expected
