"""One deploy at a time in a namespace, from whatever machine, against an API that keeps its objects."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from todoctl.adapters.kube.access import Access
from todoctl.adapters.kube.api import Kube
from todoctl.adapters.whoami import whoami
from todoctl.errors import RefusedError
from todoctl.operations.kubernetes import lock

NAME = "todo-releases"


class Leases:
    """The API server's Leases: one name, versions, and a conflict for who comes with an old one."""

    def __init__(self) -> None:
        self.there: dict[str, Any] | None = None
        self.version = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content or "{}")
        if request.method == "GET":
            return httpx.Response(200, json=self.there) if self.there else _refused(404)
        if request.method == "DELETE":
            self.there = None
            return httpx.Response(200, json={})
        if request.method == "POST":
            return _refused(409) if self.there else self.keep(body)
        known = self.there or {"metadata": {}, "spec": {}}
        if body.get("metadata", {}).get("resourceVersion", self.version) not in {self.version, str(self.version)}:
            return _refused(409)
        joined = {key: {**known.get(key, {}), **body.get(key, {})} for key in ("metadata", "spec")}
        return self.keep({**known, **joined})

    def keep(self, lease: dict[str, Any]) -> httpx.Response:
        """Have it there, as a new version."""
        self.version += 1
        self.there = {**lease, "metadata": {**lease["metadata"], "resourceVersion": str(self.version)}}
        return httpx.Response(200, json=self.there)


def _refused(status: int) -> httpx.Response:
    return httpx.Response(status, json={"message": f"refused with {status}"})


@pytest.fixture
def leases() -> Leases:
    """An empty namespace."""
    return Leases()


@pytest.fixture
def kube(leases: Leases) -> Kube:
    """Its API."""
    return Kube(Access("test", "http://cluster.test"), "todo", transport=httpx.MockTransport(leases))


def _age(leases: Leases, seconds: float) -> None:
    assert leases.there
    leases.there["spec"]["renewTime"] = (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat()


def test_held_and_given_back(kube: Kube, leases: Leases) -> None:
    """It says who has it; afterwards there is nothing."""
    with lock.held(kube, NAME, "deploy", whoami()):
        assert leases.there
        assert leases.there["spec"]["holderIdentity"].startswith(f"deploy of {whoami().user}@")
    assert leases.there is None


def test_the_second_is_refused_and_told_who_works(kube: Kube) -> None:
    """On this machine and from another one."""
    with lock.held(kube, NAME, "deploy", whoami()):
        for other in (whoami(), replace(whoami(), host="elsewhere")):
            with pytest.raises(RefusedError, match=r"deploy of .* works on the environment"), _held(kube, other):
                pass


def test_a_killed_holder_of_this_machine_is_gone_at_once(kube: Kube, leases: Leases) -> None:
    """Its process is not there; of another machine's only time tells."""
    dead = replace(whoami(), pid=os.getpid(), started="0")
    for host, is_free in ((whoami().host, True), ("elsewhere", False)):
        leases.there = None
        lease = lock.lease(NAME, "deploy", replace(dead, host=host))
        leases.keep(lease)
        if is_free:
            with _held(kube, whoami()):
                pass
        else:
            with pytest.raises(RefusedError), _held(kube, whoami()):
                pass


def test_who_does_not_renew_is_gone(kube: Kube, leases: Leases) -> None:
    """After half a minute."""
    leases.keep(lock.lease(NAME, "deploy", replace(whoami(), host="elsewhere")))
    _age(leases, 29)
    with pytest.raises(RefusedError), _held(kube, whoami()):
        pass
    _age(leases, 31)
    with _held(kube, whoami()):
        assert leases.there
        assert json.loads(leases.there["metadata"]["annotations"]["todoctl.dev/holder"])["host"] == whoami().host


def _held(kube: Kube, me: Any) -> Any:
    return lock.held(kube, NAME, "rollback", me)
