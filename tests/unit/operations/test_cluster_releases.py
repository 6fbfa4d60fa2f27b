"""Small decisions of a release in a cluster: DNS records, Secrets before they are there, what evidence hides."""

from __future__ import annotations

import base64
from pathlib import Path

import httpx
import pytest

from tests.unit.sites import CHART
from todoctl.adapters.chart import read_overlays, read_values
from todoctl.adapters.helm import Helm
from todoctl.adapters.kube.access import Access
from todoctl.adapters.kube.api import Kube
from todoctl.errors import UsageError
from todoctl.operations.kubernetes.balancers import record
from todoctl.operations.kubernetes.evidence import redacted, secret_values
from todoctl.operations.kubernetes.pods import cluster_values
from todoctl.operations.kubernetes.releases import ClusterReleases
from todoctl.settings import Environment, Settings


@pytest.mark.parametrize(
    ("address", "kind"), [("203.0.113.9", "A"), ("2001:db8::9", "AAAA"), ("lb-1.cloud.example", "CNAME")]
)
def test_the_dns_record_to_set(address: str, kind: str) -> None:
    """Clouds give an address or a name."""
    assert record("todo.example.org", address) == f"set in DNS: todo.example.org {kind} {address}"


def test_overlays_keep_what_takes_a_key_away(tmp_path: Path) -> None:
    """Helm has to see the null; the files alone, without the chart's own values."""
    first, second = (tmp_path / name for name in ("1.yaml", "2.yaml"))
    first.write_text("kubernetes: {images: {tag: one}}\n")
    second.write_text("kubernetes: {images: {tag: null, prefix: x-}}\n")
    assert read_overlays((first, second)) == {"kubernetes": {"images": {"tag": None, "prefix": "x-"}}}
    assert read_overlays(()) == {}


def test_values_that_take_the_cluster_away_are_refused_before_it_is_asked(tmp_path: Path) -> None:
    """Helm would end in a template's words, and only after a namespace was made."""

    def answer(request: httpx.Request) -> httpx.Response:
        raise AssertionError(request.url)

    file = tmp_path / "values.yaml"
    file.write_text("kubernetes: null\n")
    kube = Kube(Access("test", "http://cluster.test"), "todo", transport=httpx.MockTransport(answer))
    place = Environment(kind="kubernetes", context="test", namespace="todo")
    settings = Settings("k", place, tmp_path, tmp_path, CHART)
    releases = ClusterReleases(settings, kube, Helm(Path("helm"), "test"), (file,), {}, 10)
    with pytest.raises(UsageError, match="the values have no kubernetes section"), releases.alone("deploy"):
        pass


def test_evidence_hides_what_lets_somebody_in() -> None:
    """Passwords, tokens and URLs with them, from the values and from the cluster; not a host's name or a port."""
    cluster = cluster_values(read_values(CHART, (CHART / "values-local.yaml",)))
    changed = base64.b64encode(b"another-token").decode()

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/todo-app-token"):
            return httpx.Response(200, json={"data": {"token": changed}})
        return httpx.Response(404, json={"message": "not found"})

    kube = Kube(Access("test", "http://cluster.test"), "todo", transport=httpx.MockTransport(answer))
    hidden = secret_values(kube, cluster)
    text = "another-token development-api at mailsink:1025 postgresql://api:development-api@postgresql:5432/todo"
    assert redacted(text, hidden) == "••• ••• at mailsink:1025 •••"
