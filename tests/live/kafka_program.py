"""todoctl against a broker alone: an environment with a `kafka` section, as an outside cluster has it."""

from __future__ import annotations

from pathlib import Path

from tests.live.broker import KafkaServer
from tests.program import Program


def program(
    folder: Path, address: str, *, section: str = 'security_protocol = "PLAINTEXT"', **variables: str
) -> Program:
    """The program with the environment `test`, whose topics are those of a chart for one broker."""
    settings = folder / "todoctl.toml"
    settings.write_text(
        '[environments.test]\nkind = "kubernetes"\nvalues = ["values-processes.yaml"]\n'
        f'[environments.test.kafka]\nbootstrap = "{address}"\n{section}\n'
    )
    return Program(folder, {"TODOCTL_CONFIG": str(settings), "TODOCTL_ENVIRONMENT": "test", **variables})


def for_server(folder: Path, server: KafkaServer) -> Program:
    """The program with the server's environment."""
    return program(folder, server.address)
