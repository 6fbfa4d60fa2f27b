"""Kafka alone, for tests that need a broker and not the platform: the jars of todoctl's own cache, started by hand."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from tests.program import until
from todoctl.adapters.kafka import topics
from todoctl.adapters.kafka.client import Broker, KafkaError, administrator, partitions
from todoctl.operations import tools
from todoctl.settings import load

_CLUSTER = "MkU3OEVBNTcwNTJENDM2Qg"
_LOG4J = """\
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d %p %m (%c)%n
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
"""


@dataclass
class KafkaServer:
    """One broker process with its own folder and port; it can be stopped, killed and started again."""

    folder: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    port: int = 0
    process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def client(self) -> Broker:
        """What the adapters take."""
        return Broker({"bootstrap.servers": self.address}, name="the test's broker")

    @property
    def librdkafka(self) -> dict[str, str]:
        """What confluent_kafka's own clients take."""
        return {"bootstrap.servers": self.address}

    @property
    def properties(self) -> str:
        """The broker's own settings, as it reads them."""
        return (self.folder / "server.properties").read_text()

    def topic(self, label: str = "test", *, count: int = 1, **config: str) -> str:
        """A new topic with a name of its own; `config` in Kafka's names with underscores for dots."""
        name = f"{label}-{uuid4().hex[:12]}"
        # Kept for ever where nothing else is said: tests make records of long ago.
        settings = {"retention.ms": "-1"} | {key.replace("_", "."): value for key, value in config.items()}
        topics.create(self.client, [topics.TopicSpec(name, count, 1, settings)])
        until(lambda: len(_partitions(self.client, name)) == count, f"topic {name}")
        return name

    def start(self) -> None:
        """Start the broker and wait until it takes connections; its log folder is made at the first start."""
        if not self.port:
            self._format()
        log = (self.folder / "kafka.log").open("ab")
        command = [*self._java(), "kafka.Kafka", str(self.folder / "server.properties")]
        self.process = subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        log.close()
        until(self._accepts, f"Kafka on {self.address}; its log is {self.folder / 'kafka.log'}", 120)

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End the process and wait until it is gone."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(how)
            self.process.wait(60)
            self.process = None

    def pause(self) -> None:
        """The broker takes connections and never answers, until it ends or `resume`."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def _accepts(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "kafka.log").read_text()[-2000:]
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def _format(self) -> None:
        self.port, controller = free_ports(2)
        lines = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://{self.address},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://{self.address}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": str(self.folder / "data"),
            "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "transaction.state.log.num.partitions": "4",
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "1000",
            "message.max.bytes": str(12 * 2**20),
            "log.cleaner.backoff.ms": "200",
            "log.cleaner.dedupe.buffer.size": "16777216",
            "log.segment.delete.delay.ms": "500",
            "log.retention.check.interval.ms": "500",
            "log.initial.task.delay.ms": "500",
            "broker.session.timeout.ms": "3000",
            "broker.heartbeat.interval.ms": "500",
            **{key: value.format(port=self.port, controller=controller) for key, value in self.settings.items()},
        }
        text = "".join(f"{key}={value}\n" for key, value in lines.items())
        (self.folder / "server.properties").write_text(text)
        (self.folder / "log4j2.properties").write_text(_LOG4J)
        command = [*self._java(), "kafka.tools.StorageTool", "format", "--cluster-id", _CLUSTER]
        subprocess.run([*command, "--config", str(self.folder / "server.properties")], check=True, capture_output=True)

    def _java(self) -> list[str]:
        environ = dict(os.environ)
        cache = load(environ, cwd=Path("/")).cache
        for name in ("jre", "kafka"):
            for _ in tools.install(name, cache, environ=environ):
                pass
        java, kafka = (tools.find(name, cache, environ=environ) for name in ("jre", "kafka"))
        assert java is not None
        assert kafka is not None
        small = ["-Xms128m", "-Xmx640m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData"]
        log = f"-Dlog4j2.configurationFile={self.folder / 'log4j2.properties'}"
        return [str(java.path), *small, log, "-cp", str(kafka.path / "*")]


@contextmanager
def kafka_server(settings: Mapping[str, str] | None = None) -> Iterator[KafkaServer]:
    """A broker of its own, started; gone with its folder afterwards whatever happened."""
    folder = Path(tempfile.mkdtemp(prefix="todoctl-kafka-", dir="/tmp"))
    server = KafkaServer(folder, settings or {})
    try:
        server.start()
        yield server
    finally:
        server.end(signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


def _partitions(broker: Broker, topic: str) -> list[tuple[str, int]]:
    admin = administrator(broker)
    try:
        return partitions(broker, admin, [topic])
    except KafkaError:
        return []


def free_ports(count: int) -> list[int]:
    """Ports that nobody has; held together until all are known, so that they differ."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
