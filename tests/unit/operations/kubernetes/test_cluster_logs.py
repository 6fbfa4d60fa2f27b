"""Logs of pods, merged as those of processes are."""

from __future__ import annotations

from datetime import UTC, datetime

from tests.unit.operations.kubernetes.cluster import NAMESPACE, FakeCluster, pod
from tests.unit.sites import CHART
from todoctl.adapters.chart import read_values
from todoctl.adapters.kube.kinds import PODS
from todoctl.core.logs import LogFilter
from todoctl.operations.kubernetes.logs import read
from todoctl.operations.kubernetes.pods import places

VALUES = read_values(CHART, (CHART / "values-local.yaml",))
PLACES = [place for place in places(VALUES, NAMESPACE) if place.name in {"api", "api-daprd"}]


def line(second: int, text: str) -> str:
    """A line as our services write them."""
    return f'{{"timestamp": "2026-01-01T00:00:{second:02}Z", "level": "info", "message": "{text}"}}\n'


def test_pods_and_their_sidecars_are_one_stream() -> None:
    """By time, each line with its part and its pod; a line without a time keeps its place, a container that waits has none."""
    cluster = FakeCluster()
    for name in ("a", "b", "c"):
        cluster.add(PODS, pod(name, "api"))
    cluster.logs = {
        ("a", "app"): line(1, "one") + "Traceback\n" + line(4, "four"),
        ("a", "daprd"): line(2, "two"),
        ("b", "app"): line(3, "three"),
        ("b", "daprd"): "",
    }
    found = [(row.part, row.instance, row.text) for row in read(cluster.kube, PLACES, LogFilter())]
    assert found == [
        ("api", "a", "one"),
        ("api", "a", "Traceback"),
        ("api-daprd", "a", "two"),
        ("api", "b", "three"),
        ("api", "a", "four"),
    ]
    later = LogFilter(since=datetime(2026, 1, 1, 0, 0, 3, tzinfo=UTC))
    assert [row.text for row in read(cluster.kube, PLACES, later)] == ["three", "four"]


def test_followed_logs_begin_with_what_is_there() -> None:
    """In the order of time, too, before anything new is waited for."""
    cluster = FakeCluster()
    cluster.add(PODS, pod("a", "api"))
    cluster.logs = {("a", "app"): line(2, "two"), ("a", "daprd"): line(1, "one")}
    lines = read(cluster.kube, PLACES, LogFilter(), follow=True)
    assert [next(lines).text, next(lines).text] == ["one", "two"]
