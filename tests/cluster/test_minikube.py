"""`up` on a Minikube, all of its way: the machine is pretended, what is in it is the test cluster."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pytest
import yaml

from tests.cluster import deployment, images, outside
from tests.cluster.deployment import Images
from tests.cluster.kube import Cluster, until
from tests.helm import Chart, merged, nested
from tests.minikube import FakeMinikube
from tests.program import Ended
from tests.unit.sites import CHART
from todoctl.adapters.chart import read_values
from todoctl.core.images import images as named

# Images and every service of the platform.
pytestmark = pytest.mark.slow
PROFILE = "todo-mini"


@dataclass(frozen=True)
class Laptop:
    """A home with a Minikube whose only machine is the test cluster's node."""

    cluster: Cluster
    fake: FakeMinikube
    namespace: str
    values: dict[str, Any]

    @property
    def page(self) -> str:
        """Where browsers find it."""
        return str(self.values["kubernetes"]["urls"]["page"])

    @property
    def environ(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TODOCTL_")}
        return {
            **kept,
            "FAKE_MINIKUBE": str(self.fake.state),
            "PATH": f"{self.fake.bin}:{os.environ['PATH']}",
            "KUBECONFIG": str(self.fake.folder / "kubeconfig"),
            "TODOCTL_HOME": str(self.fake.folder / "home"),
            "TODOCTL_CONFIG": str(self.fake.folder / "todoctl.toml"),
            "TODOCTL_BUILDER_OPTIONS": " ".join(images.storage()),
            "TODOCTL_BASE_IMAGE": "localhost/python:3.11",
            "TZ": "UTC",
        }

    def change(self, **values: Any) -> None:
        """Other values from now on; a key is dotted, with _ for the dot."""
        over = merged(self.values, *(nested(key.replace("__", "."), value) for key, value in values.items()))
        (self.fake.folder / "values.yaml").write_text(yaml.safe_dump(over))

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """todoctl, started in a group of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "todoctl", "-e", "mini", *arguments],
            env=self.environ,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, code: int = 0, seconds: float = 1200) -> Ended:
        """todoctl, ended with this exit code."""
        with self.start(*arguments) as process:
            out, err = process.communicate(timeout=seconds)
        assert process.returncode == code, f"{arguments}: {process.returncode}\n{out}\n{err}"
        return Ended(process.returncode, out, err)

    def history(self) -> list[dict[str, Any]]:
        """Every release."""
        return list(self.run("history", "-o", "json").json())


@pytest.fixture(scope="module")
def laptop(
    cluster: Cluster,
    chart: Chart,
    control_plane: None,
    service_images: Images,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Laptop]:
    """Nothing is deployed; Dapr is there already. Database and broker are outside, for want of their images."""
    if cluster.programs is None or cluster.kubeconfig is None:
        pytest.skip("only the test cluster's node can be filled as a Minikube's is")
    folder, namespace = tmp_path_factory.mktemp("laptop"), f"todo-mini-{uuid4().hex[:6]}"
    fake = FakeMinikube(folder)
    fake.put("kubeconfig", cluster.kubeconfig.read_text())
    fake.put("loader", str(cluster.programs / "load"))
    (folder / "todoctl.toml").write_text(
        f'[environments.mini]\nkind = "minikube"\ncontext = "{PROFILE}"\nnamespace = "{namespace}"\n'
        f'values = ["{folder / "values.yaml"}"]\n'
    )
    with outside.running(deployment.HOST, read_values(chart.folder), namespace) as where:
        page, sockets = (f"http://localhost:{port}" for port in free_ports(2))
        urls = nested("kubernetes.urls", {"page": page, "sockets": sockets})
        values = merged(deployment.values(where, Images("localhost", "")), urls)
        found = Laptop(cluster, fake, namespace, values)
        found.change()
        try:
            yield found
        finally:
            found.run("down", "--purge", "--yes")
            cluster.run("delete", "namespace", namespace, "--wait=false")


def test_from_nothing(laptop: Laptop) -> None:
    """One command: the profile, images in the node, the release of them, and the smoke chain on stdout."""
    done = laptop.run("up", "--timeout", "400")
    assert "reminder mail" in done.out
    assert laptop.page in done.err
    answer = httpx.get(laptop.page)
    assert (answer.status_code, "<html" in answer.text) == (200, True)
    (release,) = laptop.history()
    assert (release["revision"], release["state"]) == (1, "deployed")
    profile = laptop.fake.profile(PROFILE)
    assert profile is not None
    assert len(profile["Images"]) == len(named(read_values(CHART)))
    pod = laptop.cluster.get("--namespace", laptop.namespace, "deployment", "api")
    assert pod["spec"]["template"]["spec"]["containers"][0]["image"] in profile["Images"]
    current = yaml.safe_load((laptop.fake.folder / "kubeconfig").read_text())
    assert (current["contexts"][0]["name"], current["current-context"]) == (PROFILE, "")


def test_again_it_changes_nothing(laptop: Laptop) -> None:
    """No start, no build, no load, no release, no smoke."""
    before = len(laptop.fake.calls("start", "image load"))
    done = laptop.run("up", "--timeout", "400", seconds=120)
    assert len(laptop.fake.calls("start", "image load")) == before
    assert len(laptop.history()) == 1
    assert done.out == ""


def test_a_killed_up_goes_on(laptop: Laptop) -> None:
    """Killed while Helm is in the middle of it: the next one goes back, then releases."""
    laptop.change(kubernetes__workloads__recurring__env={"LOG_LEVEL": "warning"})
    with laptop.start("up", "--timeout", "400") as process:
        try:
            until(lambda: _is_pending(laptop), "Helm is in the middle of it", seconds=200)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
    done = laptop.run("up", "--timeout", "400")
    assert "what made it was killed" in done.err
    states = [release["state"] for release in laptop.history()]
    assert states[-1] == "deployed"
    assert "failed" in states
    env = laptop.cluster.get("--namespace", laptop.namespace, "deployment", "recurring")
    container = env["spec"]["template"]["spec"]["containers"][0]
    assert {"name": "LOG_LEVEL", "value": "warning"} in container["env"]


def test_stopped_and_started(laptop: Laptop) -> None:
    """The context goes and comes back; the same release is awaited and proven."""
    revision = laptop.history()[-1]["revision"]
    laptop.run("down")
    with pytest.raises(httpx.ConnectError):
        httpx.get(laptop.page)
    assert yaml.safe_load((laptop.fake.folder / "kubeconfig").read_text())["contexts"] == []
    assert "next: todoctl -e mini up" in laptop.run("status", code=2).err
    done = laptop.run("up", "--timeout", "400")
    assert "reminder mail" in done.out
    assert laptop.history()[-1]["revision"] == revision
    assert httpx.get(laptop.page).status_code == 200


def test_purged(laptop: Laptop) -> None:
    """The profile is gone, and what todoctl kept of it."""
    laptop.run("down", "--purge", "--yes")
    assert laptop.fake.profile(PROFILE) is None
    assert not (laptop.fake.folder / "home" / "mini").exists()


def free_ports(count: int) -> list[int]:
    """Ports that nobody has."""
    with ExitStack() as stack:
        servers = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [server.getsockname()[1] for server in servers]


def _is_pending(laptop: Laptop) -> bool:
    listed = laptop.cluster.get("--namespace", laptop.namespace, "secrets", "--selector=owner=helm")["items"]
    return any(item["metadata"]["labels"]["status"].startswith("pending") for item in listed)
