"""`python -m services.sync`: reads the environment, joins the parts, serves."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime

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
    app = create_app(
        settings=settings,
        sync=sync,
        sidecar=Sidecar.from_settings(settings),
        clock=lambda: datetime.now(UTC),
        registry=REGISTRY,
    )
    run(app, settings, socket_bytes=sync.message_bytes)


if __name__ == "__main__":
    main()
