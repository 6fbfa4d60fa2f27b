"""A service of ours as a process of its own, as it runs on the platform, without a sidecar."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.live.conftest import until
from tests.unit.services.postgres_server import free_port

APP_TOKEN = "app-token"


@contextmanager
def served(argv: Sequence[str], port: int, environ: dict[str, str]) -> Iterator[str]:
    """The URL at which a program answers on /healthz, while the block runs."""
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(argv, env=os.environ | environ, stdout=log, stderr=log, cwd=Path.cwd())
        try:
            url = f"http://127.0.0.1:{port}"
            until(60, lambda: process.poll() is not None or _answers(url), f"{argv[-1]} answers")
            if process.poll() is not None:
                log.seek(0)
                raise AssertionError(log.read().decode())
            yield url
        finally:
            process.terminate()
            process.wait(20)


@contextmanager
def service(name: str, database_url: str, *, sidecar_port: int = 1) -> Iterator[str]:
    """The URL of one of our services."""
    port = free_port()
    environ = {
        "SERVICE_NAME": name,
        "PORT": str(port),
        "DAPR_HTTP_PORT": str(sidecar_port),
        "DAPR_API_TOKEN": "dapr-token",
        "APP_API_TOKEN": APP_TOKEN,
        "SERVICE_TOKEN": "service-token",
        "DATABASE_URL": database_url,
        "RATE_LIMIT_PER_SECOND": "0",
    }
    with served([sys.executable, "-m", f"services.{name}"], port, environ) as url:
        yield url


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/healthz", trust_env=False, timeout=2).is_success
    except httpx.HTTPError:
        return False
