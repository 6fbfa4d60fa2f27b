"""Assembles the task service from the environment and serves it."""

from __future__ import annotations

import os
import sys

from prometheus_client import REGISTRY

from services.api import queries
from services.api.app import create_app
from services.api.pages import WebSettings
from services.common.database import Database
from services.common.server import run
from services.common.settings import ServiceSettings
from services.common.sidecar import Sidecar


def main() -> None:
    """Serve until told to stop."""
    try:
        settings = ServiceSettings.from_environ(os.environ)
        database = Database(settings.needed_database_url, name=settings.service_name, planning=queries.PLANNING)
        sidecar = Sidecar.from_settings(settings)
        web = WebSettings.from_environ(os.environ)
        app = create_app(settings=settings, sidecar=sidecar, database=database, registry=REGISTRY, web=web)
    except ValueError as error:
        # An empty SERVICE_TOKEN is one, too: the guard would let everybody in.
        sys.exit(f"api: {error}")
    run(app, settings)


if __name__ == "__main__":
    main()
