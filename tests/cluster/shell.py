"""todoctl against the test cluster, as its user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.cluster.deployment import Release
from tests.program import Ended


@dataclass(frozen=True)
class Shell:
    """todoctl as its user runs it, with an environment for the cluster in a configuration file of its own."""

    folder: Path
    kubeconfig: str
    variables: Mapping[str, str] = field(default_factory=dict)

    def write(self, **environments: dict[str, Any]) -> None:
        """The configuration file, with an environment for each name."""
        lines = []
        for name, section in environments.items():
            lines.append(f"[environments.{name}]")
            lines += [f"{key} = {json.dumps(value)}" for key, value in section.items()]
        (self.folder / "todoctl.toml").write_text("\n".join(lines) + "\n")

    @property
    def environ(self) -> dict[str, str]:
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("TODOCTL_")},
            "TODOCTL_HOME": str(self.folder / "home"),
            "TODOCTL_CONFIG": str(self.folder / "todoctl.toml"),
            "KUBECONFIG": self.kubeconfig,
            "TZ": "UTC",
            **self.variables,
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """The command, started."""
        command = [sys.executable, "-m", "todoctl", *arguments]
        pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(command, env=self.environ, cwd="/", text=True, **pipes)

    def run(self, *arguments: str, environment: str = "there", seconds: float = 180) -> Ended:
        """The command, ended."""
        with self.start("-e", environment, *arguments) as process:
            out, err = process.communicate(timeout=seconds)
        return Ended(process.returncode, out, err)


def section(release: Release, **changes: Any) -> dict[str, Any]:
    """The environment of the release."""
    there = {"kind": "kubernetes", "context": release.cluster.context, "namespace": release.namespace}
    return {**there, "values": [str(release.values)], **changes}


def kubeconfig(release: Release) -> str:
    """The file by which the cluster is reached."""
    return str(release.cluster.kubeconfig or os.environ.get("KUBECONFIG", str(Path.home() / ".kube" / "config")))
