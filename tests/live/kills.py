"""Every part killed in turn while users write, and the wait until everything agrees with what was acknowledged."""

from __future__ import annotations

import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

import psutil

from tests.live.conftest import Platform, until
from tests.live.mixed_writes import Found, Scribe, differences
from tests.live.users import User

VICTIMS = (
    *("api", "recurring", "notification", "audit", "auth", "sync"),
    *("api-daprd", "recurring-daprd", "notification-daprd", "audit-daprd", "auth-daprd", "sync-daprd"),
    *("kafka", "postgres", "scheduler"),
)
# Until everything agrees: the last reminder's moment, the lease of a hand-over, the restarts, a machine that others use.
DOUBT = 240


def write_under_kills(platform: Platform, users: Sequence[User], writes: int, *, seed: int) -> list[Scribe]:
    """Have the users make at least so many writes together while every part is killed once; all are acknowledged."""
    scribes = [Scribe(user, random.Random(seed + number)) for number, user in enumerate(users)]
    over = threading.Event()
    share = -(-writes // len(users))
    with ThreadPoolExecutor(max_workers=len(users) + 1) as pool:
        work = [pool.submit(scribe.work, share, over) for scribe in scribes]
        work.append(pool.submit(_kill_in_turn, platform, over))
        try:
            for future in as_completed(work):
                future.result()
        finally:
            over.set()
    return scribes


def assert_agreement(platform: Platform, scribes: Sequence[Scribe]) -> None:
    """Wait until nothing differs from what was acknowledged; fails with what differs."""
    left: dict[int, list[str]] = {}

    def agree(some: Sequence[Scribe]) -> list[Scribe]:
        mails = all_mails(platform)
        found = {scribe.user.id: differences(scribe, Found.of(scribe.user, mails)) for scribe in some}
        left.clear()
        left.update({user: lines for user, lines in found.items() if lines})
        return [scribe for scribe in some if scribe.user.id in left]

    waiting = list(scribes)

    def each() -> bool:
        waiting[:] = agree(waiting)
        return not waiting

    try:
        until(DOUBT, each, "agreement")
        # Once more, everybody at one look: what comes twice may come late. A reminder may be on its way meanwhile, which
        # passes; what was done twice stays.
        until(DOUBT, lambda: not agree(scribes), "agreement of all at once")
    except AssertionError as error:
        raise AssertionError(f"what does not agree, by user: {left}") from error


def all_mails(platform: Platform) -> Counter[str]:
    """How often each Message-ID is in the sink."""
    kept = platform.must("mail", "list", "--limit", "100000", "-o", "json").json()
    return Counter(mail["message_id"] for mail in kept)


def _kill_in_turn(platform: Platform, over: threading.Event) -> None:
    try:
        for name in VICTIMS:
            pid = until(180, lambda name=name: platform.parts()[name]["pid"], f"{name} running")  # type: ignore[misc]
            os.kill(pid, signal.SIGKILL)
            until(180, lambda pid=pid, name=name: _replaced(platform, name, pid), f"{name} running again")  # type: ignore[misc]
    finally:
        over.set()


def _replaced(platform: Platform, name: str, pid: int) -> bool:
    now = platform.parts()[name]["pid"]
    return now is not None and now != pid and psutil.pid_exists(now)
