"""`python -m services.notification`: reads the environment, joins the parts, serves."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime

from prometheus_client import REGISTRY

from services.common.server import run
from services.common.settings import ServiceSettings, SettingsError
from services.common.sidecar import Sidecar
from services.notification.app import create_app


def main() -> None:
    """Serve until told to stop."""
    try:
        settings = ServiceSettings.from_environ(os.environ)
    except SettingsError as error:
        sys.exit(f"notification: {error}")
    if not settings.service_token:
        sys.exit("notification: missing in the environment: SERVICE_TOKEN")
    app = create_app(
        settings=settings,
        sidecar=Sidecar.from_settings(settings),
        clock=lambda: datetime.now(UTC),
        registry=REGISTRY,
        page=os.environ.get("PUBLIC_URL", ""),
    )
    run(app, settings)


if __name__ == "__main__":
    main()
