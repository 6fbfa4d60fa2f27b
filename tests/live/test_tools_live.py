"""The real tools in the shared cache: each one runs, as another user too, and daprd has the components we use."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from todoctl import settings
from todoctl.adapters.tools import pins
from todoctl.operations import tools

NOBODY = 65534


@pytest.fixture(scope="module")
def cache() -> Path:
    """The cache that `todoctl` itself uses, filled; a valid one is left as it is."""
    folder = settings.load(os.environ, cwd=Path.cwd()).cache
    for _ in tools.install_all(tools.names(), folder, environ=os.environ):
        pass
    return folder


@pytest.fixture
def found(cache: Path) -> dict[str, tools.Tool]:
    """Every needed tool by name."""
    looked = {name: tools.find(name, cache, environ=os.environ) for name in tools.names()}
    return {name: tool for name, tool in looked.items() if tool}


def say(*command: str | Path, user: int | None = None) -> str:
    """What a command says on both streams, run as another user where that is possible."""
    done = subprocess.run(
        list(map(str, command)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=30,
        check=False,
        cwd="/",
        user=user if os.geteuid() == 0 else None,
        extra_groups=[] if os.geteuid() == 0 else None,
    )
    return done.stdout


@pytest.mark.parametrize("user", [None, NOBODY], ids=["as us", "as nobody"])
def test_each_tool_runs(found: dict[str, tools.Tool], user: int | None) -> None:
    """Java, Kafka on it, PostgreSQL, daprd and scheduler, in the versions that the list says."""
    assert set(found) == set(tools.names())
    assert found["jre"].version in say(found["jre"].path, "-version", user=user)
    jars = ":".join(map(str, tools.classpath(found["kafka"])))
    assert found["kafka"].version in say(found["jre"].path, "-cp", jars, "kafka.Kafka", "--version", user=user)
    assert found["postgresql"].version in say(found["postgresql"].path / "postgres", "--version", user=user)
    assert "PostgreSQL" in say(found["postgresql"].path / "initdb", "--version", user=user)
    assert say(found["daprd"].path, "--version", user=user).strip() == found["daprd"].version
    assert "--etcd-data-dir" in say(found["scheduler"].path, "--help", user=user)


def test_what_is_installed_is_found_at_once(cache: Path, found: dict[str, tools.Tool]) -> None:
    """Each look costs less than 100 ms of CPU, and installing again fetches nothing."""
    for name in found:
        before = time.process_time()
        tools.find(name, cache, environ=os.environ)
        assert time.process_time() - before < 0.1, name
    phases = {news.phase for news in tools.install_all(tools.names(), cache, environ=os.environ)}
    assert phases == {"ready"}


def test_every_installed_file_is_as_it_was_installed(cache: Path) -> None:
    """The hashes of the manifests hold."""
    listed = tools.listing(cache, environ=os.environ, verify=True)
    assert [item.broken for item in listed if item.broken] == []


COMPONENTS = {
    "kafka": ("pubsub.kafka", "v1", {"brokers": "127.0.0.1:1", "authType": "none"}),
    "state": ("state.postgresql", "v2", {"connectionString": "host=127.0.0.1 port=1 user=a connect_timeout=1"}),
    "file": ("secretstores.local.file", "v1", {"secretsFile": "secrets.json"}),
    "env": ("secretstores.local.env", "v1", {}),
    "mail": ("bindings.smtp", "v1", {"host": "127.0.0.1", "port": "1"}),
}
CONFIGURATION = """
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata: {name: test}
spec:
  nameResolution:
    component: sqlite
    version: v1
    configuration: {connectionString: names.db}
"""


@pytest.fixture
def sidecar(found: dict[str, tools.Tool], tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A daprd with one component of each kind that we use; its address and its log."""
    (tmp_path / "secrets.json").write_text("{}")
    (tmp_path / "config.yaml").write_text(CONFIGURATION)
    (tmp_path / "components").mkdir()
    for name, (kind, version, metadata) in COMPONENTS.items():
        lines = "".join(f"    - {{name: {key}, value: '{value}'}}\n" for key, value in metadata.items())
        (tmp_path / "components" / f"{name}.yaml").write_text(
            "apiVersion: dapr.io/v1alpha1\nkind: Component\n"
            f"metadata: {{name: {name}}}\nspec:\n  type: {kind}\n  version: {version}\n"
            # Kafka and PostgreSQL are not there: what counts here is that their kinds are known.
            f"  ignoreErrors: true\n  metadata:{lines and chr(10)}{lines or ' []'}\n"
        )
    ports = [_free_port() for _ in range(4)]
    names = ("--dapr-http-port", "--dapr-grpc-port", "--dapr-internal-grpc-port", "--metrics-port")
    flags = [word for pair in zip(names, map(str, ports), strict=True) for word in pair]
    local = ["--dapr-listen-addresses", "127.0.0.1", "--metrics-listen-address", "127.0.0.1"]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [found["daprd"].path, "--app-id", "tools-test", "--resources-path", "components", "--config", "config.yaml",
             *flags, *local],
            cwd=tmp_path, stdout=log, stderr=subprocess.STDOUT,
        )  # fmt: skip
        yield f"http://127.0.0.1:{ports[0]}", tmp_path / "log"
        process.terminate()
        process.wait(timeout=20)


def test_daprd_knows_every_component_that_we_use(sidecar: tuple[str, Path]) -> None:
    """Those that need no server are loaded; the others fail for want of one, not as unknown."""
    address, log = sidecar
    loaded: set[str] = set()
    deadline = time.monotonic() + 30
    while not {"file", "env", "mail"} <= loaded:
        assert time.monotonic() < deadline, log.read_text()
        threading.Event().wait(0.1)
        try:
            said = httpx.get(f"{address}/v1.0/metadata", timeout=2)
            loaded = {component["name"] for component in said.json().get("components", [])}
        except (httpx.TransportError, ValueError):
            continue
    text = log.read_text()
    assert "couldn't find" not in text
    assert "Initialized name resolution to sqlite" in text


@pytest.mark.slow
def test_the_lock_file_is_what_maven_resolves(tmp_path: Path) -> None:
    """Resolving the pinned Kafka again gives exactly the jars that are locked."""
    from todoctl.adapters.tools import kafka_jars, kafka_lock

    assert kafka_lock.resolve(pins.load().kafka.roots, tmp_path) == list(kafka_jars.locked(pins.load()))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("go") is None, reason="needs Go on PATH")
def test_the_build_recipe_is_complete(tmp_path: Path) -> None:
    """Our go.mod and go.sum suffice for a build that may not change them."""
    list(
        tools.install(
            "daprd", tmp_path, environ={**os.environ, "PATH": f"{Path(shutil.which('go') or '').parent}:/usr/bin:/bin"}
        )
    )
    built = tools.find("daprd", tmp_path, environ={"PATH": ""})
    assert built
    assert say(built.path, "--version").strip() == built.version


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
