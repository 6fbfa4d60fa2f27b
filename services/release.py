"""`python -m services.release`: what a release of this code needs and reads, as one JSON object on stdout.

Whoever deploys asks the code itself, in the copy or the image that will run.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from services.contracts.generate import schemas_by_file
from services.migrations import OLDEST_REVISION
from services.migrations.description import revisions
from todoctl import __version__
from todoctl.core.events import READABLE_MAJORS, SCHEMA_VERSION


def describe() -> dict[str, Any]:
    """The release's needs: application version, schema revisions, event versions and contracts."""
    known = revisions()
    return {
        "app_version": __version__,
        "database": {
            "needs": known[-1].revision,
            "oldest": OLDEST_REVISION,
            "migrations": [asdict(item) for item in known],
        },
        "events": {"writes": SCHEMA_VERSION, "reads": list(READABLE_MAJORS), "schemas": schemas_by_file()},
    }


if __name__ == "__main__":
    print(json.dumps(describe()))
