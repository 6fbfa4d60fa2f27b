"""Options of the test run, and the project's root on the path for helpers that tests share."""

from __future__ import annotations

import random
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.program import Program

# Last, so that an installed todoctl stays the one under test; importlib mode adds no path of its own.
sys.path.append(str(Path(__file__).parents[1]))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options that make a run longer or repeat it."""
    group = parser.getgroup("todoctl")
    group.addoption(
        "--recurrence-cases", type=int, default=20_000, help="cases to compare with the recurrence oracle (%(default)s)"
    )
    group.addoption("--million", action="store_true", help="plans of queries among a million tasks, not 20,000")
    group.addoption(
        "--recurrence-seed", type=int, default=None, help="repeat the cases of an earlier run (a fresh seed each run)"
    )
    group.addoption(
        "--update-golden", action="store_true", help="write the golden files anew instead of comparing with them"
    )
    group.addoption(
        "--kill-writes", type=int, default=200, help="mixed writes while parts are killed (%(default)s; 1000)"
    )
    group.addoption("--replay-kills", type=int, default=20, help="kills of a replay of dead letters (%(default)s; 100)")
    group.addoption(
        "--schemathesis-cases", type=int, default=0, help="requests that Schemathesis makes (a few hundred; 20000)"
    )
    group.addoption(
        "--schemathesis-minutes", type=float, default=20, help="when it ends for a service at the latest (%(default)s)"
    )
    group.addoption("--attack-packets", type=int, default=3000, help="malformed socket packets (%(default)s; 100000)")
    group.addoption("--kill-clients", type=int, default=6, help="clients that write (%(default)s; 20)")
    group.addoption("--kill-seed", type=int, default=1, help="repeat another mix of writes (%(default)s)")


def pytest_configure(config: pytest.Config) -> None:
    """One seed per run, so that the header names it before anything can fail; Ctrl-C works as on a terminal."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # Started in the background, as CI may: the programs under test would inherit the deafness.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.option.recurrence_seed is None:
        config.option.recurrence_seed = random.SystemRandom().randrange(2**32)


def pytest_report_header(config: pytest.Config) -> str:
    """The line that repeats this run's generated cases."""
    return f"recurrence: --recurrence-cases={config.option.recurrence_cases} --recurrence-seed={config.option.recurrence_seed}"


@pytest.fixture
def todoctl(tmp_path: Path) -> Program:
    """The program as a real process, in folders of its own."""
    from tests.program import Program

    return Program(tmp_path)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Longer runs are for those who ask: `pytest -m slow`."""
    if "slow" not in str(config.option.markexpr):
        for item in items:
            if item.get_closest_marker("slow"):
                item.add_marker(pytest.mark.skip(reason="a longer run: pytest -m slow"))
