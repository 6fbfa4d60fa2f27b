"""A reminder becomes exactly one mail on the real platform, whatever is killed around its moment."""

from __future__ import annotations

import os
import signal
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.live.conftest import Platform, until
from tests.live.users import User, pause, register

# Lease of a hand-over, Kafka's session, the restarts, on a machine that others use too.
_DOUBT = 150


def remind(user: User, seconds: float, **fields: Any) -> dict[str, Any]:
    """A task that is due so many seconds from now, with a reminder at that moment."""
    due = datetime.now(UTC) + timedelta(seconds=seconds)
    return user.create(title="remember", due_date=due.isoformat(), reminder_offset="PT0S", **fields)


def mails(platform: Platform, tasks: set[int]) -> Counter[int]:
    """How many mails the sink keeps for each of the tasks."""
    kept = platform.must("mail", "list", "--limit", "10000", "-o", "json").json()
    return Counter(mail["task_id"] for mail in kept if mail["task_id"] in tasks)


def ends(user: User, tasks: set[int]) -> dict[int, set[str]]:
    """What the audit log says came of each task's reminder."""
    found: dict[int, set[str]] = {task: set() for task in tasks}
    for row in user.audit():
        if row["topic"] == "reminders" and row["action_type"] != "reminder.due":
            found[int(row["details"]["task_id"])].add(row["action_type"])
    return found


def test_a_reminder_becomes_one_mail_on_time(platform: Platform) -> None:
    """Not before its moment, within seconds after it, once, and the audit log has both events."""
    with register(platform) as user:
        task = remind(user, 3)
        until(60, lambda: mails(platform, {task["id"]}), "the mail of a reminder")
        shown = platform.must("mail", "list", "-o", "json").json()
        [mail] = [mail for mail in shown if mail["task_id"] == task["id"]]
        late = datetime.fromisoformat(mail["kept_at"]) - datetime.fromisoformat(task["due_date"])
        assert timedelta(0) <= late < timedelta(seconds=20)
        until(60, lambda: ends(user, {task["id"]})[task["id"]] == {"reminder.sent"}, "the result in the audit log")
        whole = platform.must("mail", "show", mail["message_id"], "-o", "json").json()
        assert "remember" in whole["text"]
        assert "remember" in whole["html"]


def test_a_task_that_is_done_or_moved_is_not_reminded_of(platform: Platform) -> None:
    """Completed and deleted tasks send no mail, a moved one only at its new moment."""
    with register(platform) as user:
        done, kept = remind(user, 4), remind(user, 4)
        user.complete(done["id"])
        until(60, lambda: mails(platform, {kept["id"]}), "the mail of the task that stayed open")
        assert mails(platform, {done["id"]}) == Counter()


@pytest.mark.parametrize("victim", ["api", "api-daprd", "notification", "notification-daprd", "scheduler"])
def test_a_kill_around_the_due_time_gives_one_mail_or_one_unknown(platform: Platform, victim: str) -> None:
    """No reminder is lost, none is sent twice, and each has exactly one end in the audit log.

    A mail that was taken while the sender died before it heard so is `unknown`: it is there, and nobody knows.
    """
    with register(platform) as user:
        tasks = {remind(user, 2 + number * 0.15)["id"] for number in range(20)}
        pause(1.5)
        for _ in range(2):
            pid = until(60, lambda: platform.parts()[victim]["pid"], f"{victim} running")
            os.kill(pid, signal.SIGKILL)
            pause(1)
        until(_DOUBT, lambda: all(len(end) == 1 for end in ends(user, tasks).values()), "an end for each reminder")
        counted, told = mails(platform, tasks), ends(user, tasks)
        for task in tasks:
            assert (told[task], counted[task]) in (
                ({"reminder.sent"}, 1),
                ({"reminder.unknown"}, 1),
                ({"reminder.unknown"}, 0),
            )
    until(60, lambda: platform.run("status", "-o", "json").json()["healthy"], "a healthy platform")
