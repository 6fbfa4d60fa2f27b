"""A home that PostgreSQL's user can reach, as the local environment needs it when root runs it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.sites import CHART
from todoctl.settings import BUILT_IN, Settings


@pytest.fixture
def roomy() -> Iterator[Path]:
    """A folder that every user can pass; pytest's own folders are private."""
    with tempfile.TemporaryDirectory(prefix="todoctl-unit-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def settings(roomy: Path) -> Settings:
    """The local environment with a home and a cache of its own."""
    return settings_in(roomy, "home")


def settings_in(folder: Path, home: str) -> Settings:
    """The local environment in one of several homes that share a cache."""
    return Settings("local", BUILT_IN["local"], folder / home, folder / "cache", CHART, {}, BUILT_IN)
