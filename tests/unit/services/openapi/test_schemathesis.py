"""Schemathesis against every service's OpenAPI document: examples, coverage, fuzzing and stateful, all its checks."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.unit.services.postgres_server import PostgresServer
from tests.unit.services.stand import Stand, stand

CONFIG = Path(__file__).with_name("schemathesis.toml")
# How a longer run is shared out.
SHARES = {"api": 10, "auth": 5, "audit": 4, "recurring": 1, "notification": 1, "sync": 1}
# Of the first round, for each operation and phase; examples and coverage are the same in every round.
EXAMPLES = 6
# A longer run goes deep: a round of a hundred examples never comes to [true] in the place of [1], one of a thousand does.
# Stateful testing ends by itself long before, so there are rounds.
DEEP = ("--phases", "fuzzing,stateful", "--max-examples")
INTERRUPTED = 130


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

    `--schemathesis-cases 20000` makes the run longer, `--schemathesis-minutes` ends it; with `-s` it tells how far it is.
    """
    wanted = max(20, pytestconfig.option.schemathesis_cases * SHARES[service] // sum(SHARES.values()))
    run = Run(running, service, tmp_path / "schemathesis.log", 60 * pytestconfig.option.schemathesis_minutes)
    made = run.round("--max-examples", str(EXAMPLES))
    while made < wanted and not run.is_over:
        made += run.round(*DEEP, str(max(100, wanted // 10)))
    print(f"{service}: {made} of {wanted} cases{', its time is over' if run.is_over else ''}")


@dataclass
class Run:
    """Rounds against one service, until its time is over."""

    running: Stand
    service: str
    log: Path
    seconds: float

    def __post_init__(self) -> None:
        self._deadline = time.monotonic() + self.seconds

    @property
    def is_over(self) -> bool:
        """Whether another round must not begin."""
        return time.monotonic() >= self._deadline

    def round(self, *options: str) -> int:
        """The number of cases of one round, which found nothing; one that outlasts the time is interrupted."""
        with self.log.open("a+") as log:
            start = log.tell()
            process = subprocess.Popen(
                self._command(*options),
                cwd=self.log.parent,
                env={**os.environ, "SCHEMATHESIS_HOOKS": str(CONFIG.with_name("schemathesis_hooks.py"))},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
            code = self._end_of(process)
            log.seek(start)
            output = log.read()
        # What an interrupted round found is not in its exit code.
        is_clean = code == 0 or (code == INTERRUPTED and self.is_over and "= FAILURES =" not in output)
        assert is_clean, output[-20_000:]
        assert "= ERRORS =" not in output, output[-20_000:]
        found = re.search(r"^\s+(\d+) generated", output, re.MULTILINE)
        assert found is not None or self.is_over, output
        cases = 0 if found is None else int(found[1])
        assert cases > 0 or self.is_over, output
        print(f"{self.service}: {cases} cases more, {self._deadline - time.monotonic():.0f} s left", flush=True)
        return cases

    def _command(self, *options: str) -> list[str]:
        # A token lasts for an hour, a run may be longer.
        token = self.running.fresh_token("operator", role="operator")
        headers = ["-H", "dapr-api-token: app-token", "-H", "x-service-token: service-token"]
        headers += ["-H", f"Authorization: Bearer {token}"]
        return [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", str(CONFIG), "run"),
            *(self.running.url(self.service, "/openapi.json"), *headers, *options),
            *("--no-color", "--warnings", "off", "--continue-on-failure", "--generation-database", "none"),
        ]

    def _end_of(self, process: subprocess.Popen[bytes]) -> int:
        try:
            return process.wait(max(1.0, self._deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
        try:
            return process.wait(60)
        finally:
            process.kill()
