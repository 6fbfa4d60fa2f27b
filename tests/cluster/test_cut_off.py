"""`todoctl install` where no network is but the cluster's API: from a bundle and from a folder, and nothing else is reached for.

The command runs in a network namespace that has a loopback and no route; a socket in the file system carries what it says
to the API server. The kernel counts what it was asked to send anywhere else.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from tests.cluster import dapr
from tests.cluster.kube import Cluster, until
from tests.helm import helm
from tests.program import Ended, Program
from todoctl.errors import MissingError
from todoctl.settings import load

# Dapr goes and comes, for which everything that uses it must be gone.
pytestmark = pytest.mark.slow

_PORT = 6443
_COUNTED = "OutNoRoutes"  # of the IP layer: what had nowhere to go, a name server's question included

# Its arguments: the socket, a file for the counters, the command.
_ALONE = f"""
ip link set lo up
socat TCP-LISTEN:{_PORT},bind=127.0.0.1,fork,reuseaddr UNIX-CONNECT:"$1" >/dev/null 2>&1 &
relay=$!
counters=$2
shift 2
"$@"
code=$?
cat /proc/net/snmp > "$counters"
kill $relay
exit $code
"""


@dataclass(frozen=True)
class CutOff:
    """A place from which only the cluster's API is reached."""

    program: Program
    cluster: Cluster
    socket: Path

    def run(self, *arguments: str) -> tuple[Ended, int]:
        """A command that ended, and how often it reached for anything else."""
        counters = self.program.folder / "counters"
        command = ["unshare", "--net", "sh", "-c", _ALONE, "sh", str(self.socket), str(counters)]
        done = subprocess.run(
            [*command, sys.executable, "-m", "todoctl", "-e", "test", *arguments],
            env=self.program.environ,
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        return Ended(done.returncode, done.stdout, done.stderr), _count(counters.read_text())


def _count(snmp: str) -> int:
    names, numbers = (line.split() for line in snmp.splitlines() if line.startswith("Ip:"))
    return int(dict(zip(names, numbers, strict=True))[_COUNTED])


@contextmanager
def carried(server: str, path: Path) -> Iterator[None]:
    """A socket that leads to the API server."""
    at = urlsplit(server)
    relay = ["socat", f"UNIX-LISTEN:{path},fork", f"TCP:{at.hostname}:{at.port}"]
    with subprocess.Popen(relay, start_new_session=True) as process:
        try:
            until(path.exists, "the relay's socket", seconds=10)
            yield
        finally:
            process.terminate()


@pytest.fixture
def cut_off(cluster: Cluster, tmp_path: Path) -> Iterator[CutOff]:
    """Nothing but the loopback, where the API server seems to be."""
    if os.geteuid() or not all(map(shutil.which, ("socat", "ip", "unshare"))):
        pytest.skip("needs root, socat and ip for a network namespace")
    helm()
    config: dict[str, Any] = yaml.safe_load((cluster.kubeconfig or Path(os.environ["KUBECONFIG"])).read_text())
    context = next(item["context"] for item in config["contexts"] if item["name"] == cluster.context)
    there = next(item["cluster"] for item in config["clusters"] if item["name"] == context["cluster"])
    server = str(there["server"])
    there |= {"server": f"https://127.0.0.1:{_PORT}", "tls-server-name": urlsplit(server).hostname}
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    (tmp_path / "todoctl.toml").write_text(
        f'[environments.test]\nkind = "kubernetes"\ncontext = "{cluster.context}"\nnamespace = "todo-test"\n'
    )
    variables = {
        "KUBECONFIG": str(tmp_path / "kubeconfig"),
        "TODOCTL_CONFIG": str(tmp_path / "todoctl.toml"),
        "TODOCTL_CACHE": str(load(os.environ, cwd=Path("/")).cache),
    }
    with carried(server, tmp_path / "api.sock"):
        yield CutOff(Program(tmp_path, variables), cluster, tmp_path / "api.sock")


def test_dapr_from_a_bundle_with_egress_blocked(cut_off: CutOff, tmp_path: Path) -> None:
    """Preflight, plan and apply from nothing; the same command without a chart of its own can't, which shows that it is blocked."""
    values, bundle, charts = tmp_path / "values.yaml", tmp_path / "bundle.tar.gz", tmp_path / "charts"
    values.write_text(yaml.safe_dump(dapr.VALUES))
    charts.mkdir()
    packed = dapr.packed(helm(), charts)
    with tarfile.open(bundle, "w:gz") as archive:
        archive.add(charts, "charts")
    install = ("install", "dapr", "--output=json", "--values", str(values), "--set", "global.ha.enabled=false")
    if cut_off.cluster.run("get", "namespace", dapr.NAMESPACE).returncode == 0:
        gone = ("uninstall", "dapr", "--purge", "--yes")
        until(lambda: cut_off.run(*gone)[0].code == 0, "nothing uses Dapr any more, and it is gone", seconds=300)
    blocked, reached = cut_off.run(*install)
    assert (blocked.code, reached > 0) == (MissingError.exit_code, True), blocked.err
    assert "can't be fetched" in blocked.err
    dry, reached = cut_off.run(*install, "--bundle", str(bundle), "--dry-run")
    assert (dry.code, reached, dry.json()["done"]) == (0, 0, False), dry.err
    assert "create" in {action["change"] for action in dry.json()["actions"]}
    made, reached = cut_off.run(*install, "--bundle", str(bundle))
    assert (made.code, reached) == (0, 0), made.err
    # The test's Dapr is older than the pinned one, which is said.
    noted = {check["check"]: check["verdict"] for check in made.json()["checks"] if check["verdict"] != "ok"}
    assert noted == {"version": "warn"}, made.json()["checks"]
    assert "sidecar injector, conversion of subscriptions answer" in made.err
    pods = cut_off.cluster.get(f"--namespace={dapr.NAMESPACE}", "pods")["items"]
    assert all(status["ready"] for pod in pods for status in pod["status"]["containerStatuses"])
    with tarfile.open(packed) as archive:
        archive.extractall(tmp_path / "folder", filter="data")
    again, reached = cut_off.run(*install, "--chart", str(tmp_path / "folder" / "dapr"))
    assert (again.code, reached) == (0, 0), again.err
    assert {action["change"] for action in again.json()["actions"]} == {"none"}
