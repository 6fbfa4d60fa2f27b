"""A cluster as the tests talk to it: kubectl, always with the one context that was named."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]
_LEVELS = ("enforce", "warn", "audit")


@dataclass(frozen=True)
class Cluster:
    """One context of one kubeconfig; `programs` are those of a cluster that is ours to start and fill."""

    program: Path
    context: str
    kubeconfig: Path | None
    programs: Path | None = None

    @property
    def environ(self) -> dict[str, str]:
        """The environment for kubectl and helm."""
        return {**os.environ, **({"KUBECONFIG": str(self.kubeconfig)} if self.kubeconfig else {})}

    def command(self, *arguments: str) -> list[str]:
        """Kubectl with the context."""
        return [str(self.program), "--context", self.context, *arguments]

    def run(self, *arguments: str, text: str = "", seconds: float = 120) -> subprocess.CompletedProcess[str]:
        """kubectl, finished."""
        return subprocess.run(
            self.command(*arguments),
            env=self.environ,
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
        )

    def kubectl(self, *arguments: str, text: str = "", seconds: float = 120) -> str:
        """kubectl, finished with exit code 0; gives its output."""
        done = self.run(*arguments, text=text, seconds=seconds)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def get(self, *arguments: str) -> Any:
        """What `kubectl get … -o json` says."""
        return json.loads(self.kubectl("get", *arguments, "--output=json"))

    def make_namespace(self, name: str) -> None:
        """A namespace that enforces Pod Security "restricted" and warns of what would break it."""
        labels = {f"pod-security.kubernetes.io/{level}": "restricted" for level in _LEVELS}
        self.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}])

    def apply(self, objects: list[Object], *options: str) -> subprocess.CompletedProcess[str]:
        """Apply the objects strictly: an unknown field is an error. The result may be a refusal or hold warnings."""
        return self.run("apply", "--validate=strict", *options, "--filename=-", text=yaml.safe_dump_all(objects))

    @contextmanager
    def forwarded(self, namespace: str, service: str, port: int) -> Iterator[str]:
        """`http://127.0.0.1:…` that leads to a Service's pod for the length of a block."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            local = free.getsockname()[1]
        command = self.command("--namespace", namespace, "port-forward", f"service/{service}", f"{local}:{port}")
        with subprocess.Popen(
            command, env=self.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            try:
                until(lambda: _accepts(local), f"port-forward to {service}", seconds=60)
                yield f"http://127.0.0.1:{local}"
            finally:
                process.terminate()


def until(seen: Callable[[], Any], what: str, *, seconds: float) -> Any:
    """What `seen` gives once it is true; fails with what was seen last."""
    deadline = time.monotonic() + seconds
    while not (found := seen()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what} (last seen: {found!r})"
        time.sleep(0.5)
    return found


def _accepts(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False
