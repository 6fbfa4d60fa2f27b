"""Mixed writes while every part is killed in turn: nothing lost, nothing twice, nothing that was not asked for."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from tests.live.conftest import Platform, until
from tests.live.kills import assert_agreement, write_under_kills
from tests.live.users import register


def test_nothing_is_lost_or_doubled_under_kills(platform: Platform, request: pytest.FixtureRequest) -> None:
    """Tasks, next occurrences, changes, audit rows and mails agree exactly with what was acknowledged."""
    option = request.config.getoption
    with ExitStack() as stack:
        users = [stack.enter_context(register(platform)) for _ in range(option("--kill-clients"))]
        scribes = write_under_kills(platform, users, option("--kill-writes"), seed=option("--kill-seed"))
        assert sum(scribe.writes for scribe in scribes) >= option("--kill-writes")
        assert_agreement(platform, scribes)
    until(60, lambda: platform.run("status", "-o", "json").json()["healthy"], "a healthy platform")
