"""A site as the local environment has one: the chart's values, folders, ports, programs and secrets for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from todoctl.adapters.chart import read_values
from todoctl.core.parts import roles
from todoctl.core.ports import default_ports
from todoctl.core.site import Folders, Programs, Secrets, Site
from todoctl.core.values import Values

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "chart"
ADMIN = "postgres"


def chart_values() -> Values:
    """The values that the local environment runs with."""
    return read_values(CHART, (CHART / "values-processes.yaml",))


def document(**services: dict[str, Any]) -> dict[str, Any]:
    """The smallest values document with these services."""
    return {
        "services": services,
        "topics": {
            "task-events": {"partitions": 6, "retentionHours": 1},
            "letters": {"partitions": 1, "retentionHours": 1},
        },
        "dapr": {
            "pubsub": {"name": "pubsub"},
            "statestore": {"name": "store", "role": "dapr_state", "tablePrefix": "dapr_"},
            "secretstore": {"name": "secrets"},
        },
    }


def secrets(values: Values) -> Secrets:
    """Secrets that can be recognised wherever they turn up: each one begins with `secret-`."""
    passwords = {role: f"secret-{role}" for role in (ADMIN, *roles(values))}
    return Secrets(passwords, "secret-app-token", "secret-dapr-token", "secret-service-token")


def site(values: Values, root: Path) -> Site:
    """A site below `root` with the default ports; its programs are only names."""
    names = ("java", "kafka_jars", "postgres", "daprd", "scheduler", "python")
    programs = Programs(**{name: Path("/programs") / name for name in names})
    return Site(values, Folders(root), default_ports(values), programs, secrets(values))
