"""The chart with the helm that renders it."""

from __future__ import annotations

import pytest

from tests.helm import Chart, helm
from tests.unit.sites import CHART


@pytest.fixture(scope="session")
def chart() -> Chart:
    """Our chart."""
    return Chart(helm(), CHART)
