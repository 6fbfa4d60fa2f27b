"""An environment of todoctl's own in the test cluster, with database and broker outside, whose values a test may change."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import yaml
from confluent_kafka.admin import AdminClient

from tests.cluster import deployment, outside
from tests.cluster.deployment import Images
from tests.cluster.kube import Cluster
from tests.cluster.shell import Shell
from tests.cluster.variants import variant
from tests.helm import Chart, merged, nested
from tests.program import Ended
from todoctl.adapters.chart import read_values
from todoctl.core.events import REMINDERS


@dataclass(frozen=True)
class Place:
    """An environment in a namespace of its own, whose values a test may change."""

    cluster: Cluster
    images: Images
    outside: outside.Outside
    namespace: str
    shell: Shell

    def change(self, **values: Any) -> None:
        """Other values from now on, laid over those of the beginning; a key is dotted, with _ for the dot."""
        over = merged({}, *(nested(key.replace("__", "."), value) for key, value in values.items()))
        (self.shell.folder / "more.yaml").write_text(yaml.safe_dump(over))

    def run(self, *arguments: str, code: int | None = 0, seconds: float = 600) -> Ended:
        """todoctl, ended with an exit code."""
        ended = self.shell.run(*arguments, environment="there", seconds=seconds)
        assert code is None or ended.code == code, f"{arguments}: {ended.code}\n{ended.out}\n{ended.err}"
        return ended

    def history(self) -> list[dict[str, Any]]:
        """Every release."""
        return list(self.run("history", "-o", "json").json())

    def running(self) -> dict[str, Any]:
        """The one that says that it runs."""
        (found,) = [item for item in self.history() if item["state"] == "deployed"]
        return found

    def image(self, service: str) -> str:
        """The image that a service's newest pods have."""
        found = self.cluster.get("--namespace", self.namespace, "deployment", service)
        return str(found["spec"]["template"]["spec"]["containers"][0]["image"])

    def pods(self, component: str, **labels: str) -> list[dict[str, Any]]:
        """The pods of a component, those with the labels."""
        wanted = {"app.kubernetes.io/component": component, **labels}
        selector = ",".join(f"{name}={value}" for name, value in wanted.items())
        return list(self.cluster.get("--namespace", self.namespace, "pods", f"--selector={selector}")["items"])

    @contextmanager
    def elsewhere(self, name: str) -> Iterator[Place]:
        """Another namespace with the same database and broker, in which nothing is deployed."""
        namespace = f"{self.namespace}-{name}"
        other = replace(self, namespace=namespace, shell=Shell(self.shell.folder / name, self.shell.kubeconfig))
        other.shell.folder.mkdir()
        files = [str(self.shell.folder / "values.yaml"), str(other.shell.folder / "more.yaml")]
        other.shell.write(
            there={"kind": "kubernetes", "context": self.cluster.context, "namespace": namespace, "values": files}
        )
        other.change()
        try:
            yield other
        finally:
            self.cluster.run("delete", "namespace", namespace, "--wait=false")

    @contextmanager
    def interrupted(self, *arguments: str, by: signal.Signals) -> Iterator[subprocess.Popen[str]]:
        """The command, begun; it gets the signal at the end of a block, and has ended afterwards."""
        command = [sys.executable, "-m", "todoctl", "-e", "there", *arguments]
        pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        with subprocess.Popen(
            command, env=self.shell.environ, cwd="/", start_new_session=True, text=True, **pipes
        ) as process:
            try:
                yield process
            finally:
                # A terminal signals all of them, and so does whoever kills a job.
                os.killpg(process.pid, by)
                process.communicate(timeout=300)

    def with_image(self, name: str, service: str, **change: Any) -> str:
        """A tag that differs in the image of one service."""
        return variant(self.cluster, self.images.tag, name, service, **change)


@contextmanager
def nothing_deployed(cluster: Cluster, chart: Chart, images: Images, folder: Path) -> Iterator[Place]:
    """An environment with nothing deployed; a topic is missing on its broker."""
    namespace = f"todo-releases-{uuid4().hex[:6]}"
    shell = Shell(folder, str(cluster.kubeconfig or os.environ.get("KUBECONFIG", "")))
    with outside.running(deployment.HOST, read_values(chart.folder), namespace) as where:
        admin = AdminClient({"bootstrap.servers": where.brokers_here})
        admin.delete_topics([REMINDERS])[REMINDERS].result(30)
        (folder / "values.yaml").write_text(yaml.safe_dump(deployment.values(where, images)))
        files = [str(folder / name) for name in ("values.yaml", "more.yaml")]
        shell.write(
            there={
                "kind": "kubernetes",
                "context": cluster.context,
                "namespace": namespace,
                "values": files,
            }
        )
        found = Place(cluster, images, where, namespace, shell)
        found.change()
        try:
            yield found
        finally:
            cluster.run("delete", "namespace", namespace, "--wait=false")
