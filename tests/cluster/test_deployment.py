"""The chart on a real cluster: Dapr's control plane, injected sidecars, mTLS; database and broker outside, behind TLS."""

from __future__ import annotations

import base64
import io
import tarfile
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

from tests.cluster.deployment import SERVICES, Release
from tests.helm import Chart
from tests.unit.sites import CHART
from todoctl.adapters import mails, sync
from todoctl.adapters.api import Addresses, Api
from todoctl.adapters.chart import read_values
from todoctl.adapters.kafka.client import Broker
from todoctl.operations import smoke


def test_the_main_job_is_done(release: Release, tmp_path: Path) -> None:
    """Account, task, event on the outside broker, next occurrence, audit rows, socket, reminder's mail."""
    since = datetime.now(UTC)
    services = read_values(CHART).services
    with ExitStack() as stack:
        at = {
            name: stack.enter_context(release.cluster.forwarded(release.namespace, name, services[name].port))
            for name in ("auth", "api", "audit", "sync")
        }
        api = stack.enter_context(Api(Addresses(**at)))
        edges = smoke.Edges(
            api=api,
            broker=Broker({"bootstrap.servers": release.outside.brokers_here}),
            open_socket=lambda token: sync.connected(api.sync_address, token, seconds=60),
            kept_mails=lambda: mails.read(_fetched(release, tmp_path), since=since),
            clock=lambda: datetime.now(UTC),
        )
        links = [link.name for link in smoke.play(edges, deadline_seconds=90)]
    assert links[-1] == "reminder mail"


def _fetched(release: Release, folder: Path) -> Path:
    """The sink's mails, copied out of its pod."""
    code = (
        "import base64,io,tarfile;b=io.BytesIO();t=tarfile.open(fileobj=b,mode='w');"
        "t.add('/mails','.');t.close();print(base64.b64encode(b.getvalue()).decode())"
    )
    packed = base64.b64decode(release.python("mailsink", code, container="mailsink"))
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(folder, filter="data")
    return folder


def test_who_may_call_is_what_invokes_says(release: Release) -> None:
    """MTLS identities decide: a path that the caller's entry names is answered, every other is refused."""
    wanted = {
        ("audit", "auth", "/.well-known/jwks.json"): 200,
        ("audit", "auth", "/internal/users/1"): 403,
        ("notification", "auth", "/.well-known/jwks.json"): 403,
        ("recurring", "api", "/internal/heads"): 403,
    }
    code = (
        "import httpx,os,sys;"
        "print(httpx.get('http://127.0.0.1:3500/v1.0/invoke/{0}/method{1}',"
        "headers={{'dapr-api-token':os.environ['DAPR_API_TOKEN']}},timeout=20).status_code)"
    )
    found = {key: int(release.python(key[0], code.format(key[1], key[2]))) for key in wanted}
    assert found == wanted


def test_only_named_flows_pass(release: Release) -> None:
    """The same addresses from two pods: open to the one whose entry needs them, closed to the other."""
    host, port = release.outside.host, release.outside.ports["kafka"]
    flows = {
        ("notification", "mailsink", 1025): True,
        ("recurring", "mailsink", 1025): False,
        ("notification", "kubernetes.default", 443): True,
        ("recurring", "kubernetes.default", 443): False,
        ("recurring", host, port): True,
        ("auth", host, port): False,
        ("recurring", "auth", 8001): False,
    }
    code = "import socket\ntry: socket.create_connection(('{0}',{1}),5); print('open')\nexcept OSError: print('closed')"
    found = {key: release.python(key[0], code.format(key[1], key[2])).strip() == "open" for key in flows}
    assert found == flows


def test_sidecars_are_restricted(release: Release) -> None:
    """What was injected can do no more than our own containers, and has its limits."""
    for name in SERVICES:
        (sidecar,) = [c for c in release.pods(name)[0]["spec"]["containers"] if c["name"] == "daprd"]
        security = sidecar["securityContext"]
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert security["allowPrivilegeEscalation"] is False
        assert security["readOnlyRootFilesystem"] is True
        assert {"cpu", "memory"} <= set(sidecar["resources"]["limits"])


def test_helm_test_finds_everything_ready(release: Release, chart: Chart) -> None:
    """It asks every service, from a pod of its own."""
    done = chart.run(
        *("test", "todo", "--namespace", release.namespace, "--kube-context", release.cluster.context),
        environ=release.cluster.environ,
    )
    assert done.returncode == 0, done.stderr
    assert "Phase:          Succeeded" in done.stdout
