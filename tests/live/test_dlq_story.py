"""The newcomer's story on the whole platform: a consumer was broken for an hour, and three commands repair it."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import psycopg

from tests.live.conftest import Platform, until
from tests.live.users import User, recurring, register

_COMPLETED = 30


def test_a_consumer_was_broken_for_an_hour(platform: Platform, tmp_path: Path) -> None:
    """The list says what died, plan what is done, replay does it: each task gets its one successor."""
    plan = tmp_path / "plan.jsonl"
    with register(platform) as user:
        broken = _complete_while_api_refuses(platform, user)
        mine = ("--where", f"user={user.id}")
        listed = until(120, lambda: _all_dead(platform, mine, broken), "a letter for each completed task")
        assert listed[0]["consumer"] == "recurring"
        assert _successors(user, broken) == {}
        header = platform.must("dlq", "plan", *mine, "--out", str(plan), "-o", "json").json()
        assert header["counts"]["replay"] == len(broken)
        done = platform.run("dlq", "replay", "--plan", str(plan), "--yes", "--wait", "120", "-o", "json")
        assert done.code == 0, done.err
        assert {name: dict(counts) for name, counts in done.json()["consumers"].items()} == {
            "recurring": {"processed": len(broken)},
            "audit": {"processed": len(broken)},
        }
        assert _successors(user, broken) == dict.fromkeys(broken, 1)
        again = platform.run("dlq", "replay", "--plan", str(plan), "--yes", "--wait", "120", "-o", "json")
        assert (again.code, again.json()["replayed"]) == (0, 0)
        assert _successors(user, broken) == dict.fromkeys(broken, 1)
        assert platform.must("dlq", "list", *mine, "-o", "json").json() == []


def _complete_while_api_refuses(platform: Platform, user: User) -> list[int]:
    """Complete recurring tasks while recurring stands still, then let it go on against an api that finds no task."""
    tasks = [user.create(**recurring(number))["id"] for number in range(_COMPLETED)]
    pid = platform.parts()["recurring"]["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        for task in tasks:
            user.complete(task)
        _hide_tasks(platform, hidden=True)
    finally:
        os.kill(pid, signal.SIGCONT)
    try:
        until(120, lambda: _all_dead(platform, ("--where", f"user={user.id}"), tasks), "a letter for each task")
    finally:
        _hide_tasks(platform, hidden=False)
    return tasks


def _hide_tasks(platform: Platform, *, hidden: bool) -> None:
    """A rule of the database without an exception: api, which doesn't own the table, sees none of its rows."""
    words = ("ENABLE", "FORCE") if hidden else ("DISABLE", "NO FORCE")
    database = platform.database("postgres").rpartition("/")[0] + "/todo"
    with psycopg.connect(database) as connection:
        for word in words:
            connection.execute(f"ALTER TABLE api.tasks {word} ROW LEVEL SECURITY".encode())


def _all_dead(platform: Platform, mine: tuple[str, ...], tasks: list[int]) -> list[dict[str, Any]]:
    groups: list[dict[str, Any]] = platform.must("dlq", "list", *mine, "-o", "json").json()
    return groups if sum(group["letters"] for group in groups) == len(tasks) else []


def _successors(user: User, tasks: list[int]) -> dict[int, int]:
    found: dict[int, int] = {}
    for task in user.tasks():
        parent = task.get("parent_task_id")
        if parent in tasks:
            found[parent] = found.get(parent, 0) + 1
    return found
