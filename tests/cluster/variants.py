"""Other versions of our images, made by a small change of one: a service that crashes, a migration more."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.cluster import images
from tests.cluster.kube import Cluster
from tests.unit.sites import CHART
from todoctl.adapters.chart import read_values
from todoctl.core import images as names

MIGRATION = '''"""{title}"""

from alembic import op

revision = "{number:04}"
down_revision = "{before:04}"
{more}


def upgrade() -> None:
    op.execute("{sql}")


def downgrade() -> None:
    pass
'''


def variant(
    cluster: Cluster, tag: str, name: str, service: str, *, command: str = "", files: Mapping[str, str] | None = None
) -> str:
    """A tag under which all images are those of `tag`, but one: with another command, or with files more."""
    assert cluster.programs, "another cluster's images are not ours to change"
    wanted, there = f"{tag}-{name}", names.images(read_values(CHART), registry="localhost")
    with tempfile.TemporaryDirectory() as folder:
        container = images.buildah("from", there[service].reference(tag)).strip()
        try:
            for path, text in (files or {}).items():
                source = Path(folder) / Path(path).name
                source.write_text(text)
                images.buildah("copy", "--quiet", "--chmod", "0644", container, str(source), path)
            if command:
                images.buildah("config", "--cmd", command, container)
            images.buildah("commit", "--quiet", container, there[service].reference(wanted))
        finally:
            images.buildah("rm", container)
    images.into_node([there[service].reference(wanted)], cluster.programs)
    for image in there.values():
        if image.service != service:
            images.tag_in_node(image.reference(tag), image.reference(wanted))
    return wanted


def migration(number: int, sql: str, more: str = "") -> dict[str, str]:
    """The file of one migration more."""
    words = {"number": number, "before": number - 1, "title": f"Test {number}.", "sql": sql, "more": more}
    return {f"/app/services/migrations/versions/{number:04}_test.py": MIGRATION.format(**words)}
