"""A registry as others run it: distribution's own program, built once from its Go module."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import yaml

from tests.program import until
from todoctl import settings

_MODULE, _VERSION = "github.com/distribution/distribution/v3/cmd/registry", "v3.0.0"
# `htpasswd -nbB ann secret`
ACCOUNT, PASSWORD = "ann", "secret"
_HTPASSWD = "ann:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n"


@dataclass(frozen=True)
class Registry:
    """A registry that runs; `data` is where it keeps what it has."""

    port: int
    data: Path

    def name(self, host: str = "127.0.0.1") -> str:
        """Its name in an image's name, with a folder."""
        return f"{host}:{self.port}/todo"

    def manifest(self, image: str, reference: str) -> httpx.Response:
        """What it answers for an image's tag or digest."""
        kinds = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
        url = f"http://127.0.0.1:{self.port}/v2/todo/{image}/manifests/{reference}"
        return httpx.get(url, headers={"accept": kinds}, auth=(ACCOUNT, PASSWORD))


def program() -> Path:
    """The registry's program, in the cache that todoctl has; built where it is not there yet."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("the registry is built with go")
    folder = settings.load(os.environ, cwd=Path("/")).cache / "tests" / f"registry-{_VERSION}"
    if not (folder / "registry").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        environ = {**os.environ, "GOBIN": str(folder)}
        subprocess.run([go, "install", f"{_MODULE}@{_VERSION}"], env=environ, check=True, timeout=1200)
    return folder / "registry"


@contextmanager
def registry(address: str = "127.0.0.1", *, asks: bool = False) -> Iterator[Registry]:
    """A registry that speaks plain HTTP; one that `asks` lets only ACCOUNT in."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="todoctl-registry-") as name:
        folder = Path(name)
        (folder / "htpasswd").write_text(_HTPASSWD)
        document = {
            "version": 0.1,
            "log": {"level": "error", "accesslog": {"disabled": True}},
            "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
            "http": {"addr": f"{address}:{port}", "secret": "x"},
            **({"auth": {"htpasswd": {"realm": "todo", "path": str(folder / "htpasswd")}}} if asks else {}),
        }
        (folder / "config.yaml").write_text(yaml.safe_dump(document))
        with (
            (folder / "log").open("w") as log,
            subprocess.Popen(
                [program(), "serve", folder / "config.yaml"],
                env={**os.environ, "OTEL_TRACES_EXPORTER": "none"},
                stdout=log,
                stderr=log,
            ) as process,
        ):
            try:
                until(lambda: _answers(port), "the registry answers", seconds=60)
                yield Registry(port, folder / "data")
            finally:
                process.terminate()


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/v2/").status_code in {200, 401}
    except httpx.TransportError:
        return False
