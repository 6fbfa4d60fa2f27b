"""`python -m services.sync`: reads the environment, joins the parts, serves."""

from __future__ import annotations

import os
import resource
import sys
from datetime import UTC, datetime

import services.sync.server_only  # noqa: F401 - before everything that imports the library

# isort: split
from prometheus_client import REGISTRY

from services.common.server import run
from services.common.settings import ServiceSettings, SettingsError
from services.common.sidecar import Sidecar
from services.sync.app import create_app
from services.sync.settings import SyncSettings


def main() -> None:
    """Serve until told to stop."""
    try:
        settings = ServiceSettings.from_environ(os.environ)
        sync = SyncSettings.from_environ(os.environ)
    except SettingsError as error:
        sys.exit(f"sync: {error}")
    if not settings.service_token:
        sys.exit("sync: missing in the environment: SERVICE_TOKEN")
    _have_files(sync.sockets)
    app = create_app(
        settings=settings,
        sync=sync,
        sidecar=Sidecar.from_settings(settings),
        clock=lambda: datetime.now(UTC),
        registry=REGISTRY,
    )
    run(app, settings, socket_bytes=sync.message_bytes)


def _have_files(sockets: int) -> None:
    """Let the process have an open file for each socket, as far as it may; a usual limit is 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = sockets + 256
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))


if __name__ == "__main__":
    main()
