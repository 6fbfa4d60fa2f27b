"""Schemathesis against every service's OpenAPI document: examples, coverage, fuzzing and stateful, all its checks."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.services.postgres_server import PostgresServer
from tests.unit.services.stand import Stand, stand

CONFIG = Path(__file__).with_name("schemathesis.toml")
# How a longer run is shared out.
SHARES = {"api": 10, "auth": 5, "audit": 4, "recurring": 1, "notification": 1, "sync": 1}
# Of a short run, for each operation and phase.
EXAMPLES = 6


@pytest.fixture(scope="module")
def running(postgres_server: PostgresServer) -> Iterator[Stand]:
    """All services on one database."""
    database = postgres_server.new_database()
    with stand(database) as made:
        yield made
    postgres_server.drop(database)


@pytest.mark.parametrize("service", SHARES)
def test_no_answer_contradicts_the_document(
    running: Stand, service: str, pytestconfig: pytest.Config, tmp_path: Path
) -> None:
    """No request makes a server error or an answer that the document doesn't describe.

    `--schemathesis-cases 20000` makes the run longer; it prints how many there were with `-s`.
    """
    wanted = pytestconfig.option.schemathesis_cases * SHARES[service] // sum(SHARES.values())
    output = _run(running, service, wanted, tmp_path)
    generated = re.search(r"^\s+(\d+) generated", output, re.MULTILINE)
    assert generated is not None, output
    print(f"{service}: {generated[0].strip()}")
    assert int(generated[1]) >= max(20, wanted), output


def _run(running: Stand, service: str, wanted: int, folder: Path) -> str:
    operations = len(running.apps[service].openapi()["paths"])
    examples = max(EXAMPLES, -(-wanted * 2 // operations))
    headers = ["-H", "dapr-api-token: app-token", "-H", "x-service-token: service-token"]
    headers += ["-H", f"Authorization: Bearer {running.token('operator', role='operator')}"]
    result = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run"),
            *(running.url(service, "/openapi.json"), *headers, "--max-examples", str(examples)),
            *("--no-color", "--warnings", "off", "--continue-on-failure", "--generation-database", "none"),
        ],
        cwd=folder,
        env={**os.environ, "SCHEMATHESIS_HOOKS": str(CONFIG.with_name("schemathesis_hooks.py"))},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=3600,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-20_000:] + result.stderr[-2000:]
    return result.stdout
