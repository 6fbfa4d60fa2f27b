"""What a release's migrations lock, and which of them take something away, whatever they say of themselves."""

from __future__ import annotations

from todoctl.adapters import sql_linter
from todoctl.core.releases import Manifest


def judged(manifest: Manifest) -> Manifest:
    """With the risks of each migration; one that takes something away is a contract whether it says so or not."""
    migrations = manifest.database.migrations
    risks = sql_linter.lock_risks({item.revision: item.sql for item in migrations if item.sql})
    found = []
    for item in migrations:
        own = risks.get(item.revision, ())
        breaks = any(risk.rule in sql_linter.BREAKING for risk in own)
        found.append(item.model_copy(update={"risks": own, "phase": "contract" if breaks else item.phase}))
    database = manifest.database.model_copy(update={"migrations": tuple(found)})
    return manifest.model_copy(update={"database": database})
