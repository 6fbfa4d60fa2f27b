"""A broker whose topics have the platform's names, and todoctl as its user runs it there."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.live.broker import KafkaServer
from tests.live.letters import make_topics
from tests.program import Ended, until
from todoctl.adapters.kafka import client, topics


@dataclass(frozen=True)
class Desk:
    """A broker with the platform's topics, and todoctl as its user runs it."""

    server: KafkaServer
    folder: Path

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """The command, started in the desk's folder."""
        config = self.folder / "todoctl.toml"
        config.write_text(
            '[environments.bare]\nkind = "kubernetes"\n[environments.bare.kafka]\n'
            f'bootstrap = "{self.server.address}"\nsecurity_protocol = "PLAINTEXT"\n'
        )
        hidden = {"TODOCTL_ENVIRONMENT", "TODOCTL_CONFIG", "TODOCTL_HOME", "EDITOR", "VISUAL"}
        environ = {name: value for name, value in os.environ.items() if name not in hidden}
        return subprocess.Popen(
            [sys.executable, "-m", "todoctl", "--config", str(config), "-e", "bare", *arguments],
            env=environ | {"TODOCTL_HOME": str(self.folder / "home"), "TZ": "UTC", "PYTHONPATH": str(Path.cwd())},
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> Ended:
        """The command, ended."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=300)
        return Ended(process.returncode, out, err)

    def must(self, *arguments: str) -> Ended:
        """The command, ended with exit code 0."""
        result = self.run(*arguments)
        assert result.code == 0, f"todoctl {' '.join(arguments)} ended with {result.code}:\n{result.err}\n{result.out}"
        return result

    def plan(self, name: str = "plan.jsonl", *arguments: str) -> dict[str, Any]:
        """A plan's header; the file is called `name`."""
        return dict(self.must("dlq", "plan", "--out", name, *arguments, "-o", "json").json())

    def replay(self, name: str = "plan.jsonl", *arguments: str) -> Ended:
        """A replay of that plan which doesn't wait for consumers: there are none."""
        return self.run("dlq", "replay", "--plan", name, "--yes", "--wait", "0", "-o", "json", *arguments)

    def pending(self) -> int:
        """How many letters are still to be decided about."""
        return int(self.must("dlq", "stats", "-o", "json").json()["letters"]["pending"])


def remake(server: KafkaServer, *names: str) -> None:
    """Delete these topics, or all of the platform's, and make them anew."""
    admin = client.administrator(server.client)
    wanted = [*names] or ["task-events", "reminders", "task-updates", "dlq-events", "dlq-decisions"]
    present = [name for name in wanted if name in topics.ids(server.client, wanted)]
    if present:
        for future in admin.delete_topics(present, operation_timeout=30).values():
            future.result(60)
        until(lambda: not topics.ids(server.client, present), f"{present} are gone", 60)
    make_topics(server)
    until(lambda: len(topics.ids(server.client, wanted)) == len(wanted), "the topics are there", 60)
