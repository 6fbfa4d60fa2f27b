"""`python -m services.audit`: reads the environment, joins the parts, serves."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime

from prometheus_client import REGISTRY

from services.audit.app import create_app
from services.common.database import Database
from services.common.server import run
from services.common.settings import ServiceSettings, SettingsError
from services.common.sidecar import Sidecar


def main() -> None:
    """Serve until told to stop."""
    try:
        settings = ServiceSettings.from_environ(os.environ)
        database = Database(settings.needed_database_url, name=settings.service_name)
    except SettingsError as error:
        sys.exit(f"audit: {error}")
    app = create_app(
        settings=settings,
        database=database,
        sidecar=Sidecar.from_settings(settings),
        clock=lambda: datetime.now(UTC),
        registry=REGISTRY,
    )
    run(app, settings)


if __name__ == "__main__":
    main()
