"""What doctor looks at while a cluster is only half there."""

from __future__ import annotations

from typing import NoReturn

import httpx

from tests.unit.sites import CHART
from todoctl.adapters.chart import read_values
from todoctl.adapters.kube.access import Access
from todoctl.adapters.kube.api import Kube
from todoctl.operations.checks import Stores
from todoctl.operations.kubernetes.doctor import checks


def nowhere(*_args: object) -> NoReturn:
    """A store that must not be asked for."""
    raise AssertionError("asked for")


def test_a_server_that_says_its_version_and_nothing_else() -> None:
    """It is asked for one thing more, and not for forty, each of which would take as long."""
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        if request.url.path == "/version":
            return httpx.Response(200, json={"gitVersion": "v1"})
        raise httpx.ReadTimeout("timed out")

    values = read_values(CHART, (CHART / "values-cloud.yaml",))
    kube = Kube(Access("test", "http://cluster.test"), "todo", transport=httpx.MockTransport(answer))
    found = [check.run() for check in checks(kube, values, Stores(values, nowhere, nowhere, nowhere))]
    assert [(item.check, item.verdict) for item in found] == [("cluster", "ok"), ("namespace", "fail")]
    assert "does not answer" in found[1].seen
    assert asked == ["/version", "/api/v1/namespaces/todo"]
