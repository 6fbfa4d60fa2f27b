"""How fast notification turns due reminders into mails, against aiosmtplib alone and the same sink.

The bare client keeps as many connections as notification does, and all it does with a mail is to hand it over.
"""

from __future__ import annotations

import asyncio
import shutil
import statistics
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import psycopg
import pytest
from aiosmtplib import SMTP
from psycopg.rows import TupleRow

from tests.live.conftest import Platform, until
from tests.live.users import User, register
from todoctl.core.parts import MAIL_CONNECTIONS

_MAILS, _ROUNDS = 400, 5

# What the services would have written for as many users with a reminder each, without the time that it takes them.
_USERS_MADE = """
INSERT INTO auth.users (email, password_hash, zone, role, created_at, updated_at)
SELECT 'bench-' || number || '@example.com', 'none', 'Europe/Berlin', 'user', now(), now()
FROM generate_series(1, %s) AS number RETURNING id
"""
_NUMBERS_MADE = "INSERT INTO api.user_seqs (user_id, last_seq) SELECT unnest(%s::bigint[]), 1"
_REMINDERS_MADE = """
WITH made AS (
    INSERT INTO api.tasks (user_id, title, due_date, reminder_offset, status, created_at, updated_at)
    SELECT id, 'Water the plants', %(due)s, '0 s', 'open', now(), now() FROM unnest(%(users)s::bigint[]) AS users(id)
    RETURNING id, user_id
)
INSERT INTO api.reminders (task_id, user_id, trigger_at, due_date, state)
SELECT id, user_id, %(due)s, %(due)s, 'scheduled' FROM made
"""

_UNPUBLISHED = """
SELECT FROM api.reminders WHERE state = 'scheduled' UNION ALL SELECT FROM api.outbox LIMIT 1
"""


@pytest.fixture
def ours() -> Iterator[Platform]:
    """A platform with nothing else to do."""
    made = Platform(Path(tempfile.mkdtemp(prefix="todoctl-bench-", dir="/tmp")))
    try:
        made.must("up", seconds=1800)
        yield made
    finally:
        made.run("down", "--purge", "--yes")
        shutil.rmtree(made.home, ignore_errors=True)


def test_mails_against_bare_aiosmtplib(ours: Platform) -> None:
    """From the first kept mail to the last, reminders become mails at half the rate of a bare client or better."""
    measure(ours)


def measure(platform: Platform) -> None:
    """Rounds of both in turn; the sink's own moments count, so what lies before the first mail does not."""
    folder = platform.home / "local" / "data" / "mails"
    [service] = (p for p in platform.processes() if "services.notification" in p.cmdline())
    ratios = []
    with (
        register(platform) as waker,
        psycopg.connect(platform.database("postgres").removesuffix("postgres") + "todo", autocommit=True) as link,
    ):
        users = [row[0] for row in link.execute(_USERS_MADE, (_MAILS,))]
        link.execute(_NUMBERS_MADE, (users,))
        for _ in range(_ROUNDS):
            reminders = _rate(folder, lambda: _remind(link, users, waker, service))
            sample = next(folder.glob("*.eml")).read_bytes().partition(b"\n")[2]
            bare = _rate(folder, lambda: asyncio.run(_hand_over(platform.port("mailsink"), sample)))  # noqa: B023
            ratios.append(reminders / bare)
            print(f"\nreminders {reminders:.0f}/s, bare {bare:.0f}/s, ratio {ratios[-1]:.2f}", end="")
    assert statistics.median(ratios) >= 0.5


def _rate(folder: Path, act: Callable[[], None]) -> float:
    # Looking through thousands of files would take the processor from those who are measured.
    for path in folder.glob("*.eml"):
        path.unlink()
    act()
    found = until(120, lambda: len(moments := _moments(folder)) >= _MAILS and moments, f"{_MAILS} mails")
    return (len(found) - 1) / (found[-1] - found[0]) * 1e9


def _moments(folder: Path) -> list[int]:
    return sorted(int(path.name.partition("-")[0]) for path in folder.glob("*.eml"))


def _remind(link: psycopg.Connection[TupleRow], users: list[int], waker: User, service: psutil.Process) -> None:
    """Notification alone is measured: it stands still until api's part in it is done and the topic has all of them."""
    due = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=4)
    service.suspend()
    link.execute(_REMINDERS_MADE, {"due": due, "users": users})
    # Its job wakes the loop at that second; rows that nobody announced would wait for the sweep.
    waker.create(title="Water the plants", due_date=due.isoformat(), reminder_offset="PT0S")
    until(60, lambda: not link.execute(_UNPUBLISHED).fetchall(), "all reminders are in the topic")
    service.resume()


async def _hand_over(port: int, mail: bytes) -> None:
    left = iter(range(_MAILS))

    async def connection() -> None:
        async with SMTP(hostname="127.0.0.1", port=port, start_tls=False) as client:
            for _ in left:
                await client.sendmail("todo@todo.example", "ada@example.com", mail)

    await asyncio.gather(*(connection() for _ in range(MAIL_CONNECTIONS)))
