"""A database and a broker outside the cluster, as a cloud has them: processes of the test's own, behind TLS and passwords."""

from __future__ import annotations

import base64
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from todoctl.adapters import postgres
from todoctl.core.topics import wanted_topics
from todoctl.core.values import Values
from todoctl.operations import tools
from todoctl.settings import load

ROLES = ("todo_operator", "dapr_state", "auth", "api", "audit")
USER = "todo"


@dataclass(frozen=True)
class Outside:
    """Where pods reach the two, where this machine does, and the secrets for them.

    Who comes to the broker's port `kafka-hidden` is sent on to a name that only holds in the namespace `hidden`.
    """

    host: str
    listens: Mapping[str, int]
    password: str
    certificate: str
    hidden: str

    @property
    def brokers(self) -> str:
        """The broker as pods reach it: SASL over TLS."""
        return f"{self.host}:{self.listens['kafka']}"

    @property
    def brokers_here(self) -> str:
        """The broker as this machine does."""
        return f"127.0.0.1:{self.listens['kafka-here']}"

    @property
    def ports(self) -> dict[str, int]:
        """The ports that pods have to reach."""
        return {name: self.listens[name] for name in ("postgres", "kafka")}

    @property
    def hidden_name(self) -> str:
        """What the broker calls itself to those who come by its hidden listener, as Strimzi names a broker's pod."""
        return f"todo-dual-0.todo-kafka-brokers.{self.hidden}.svc:9093"

    def url(self, role: str) -> str:
        """The database as a role reaches it from a pod."""
        return f"postgresql://{role}:{self.password}@{self.host}:{self.listens['postgres']}/todo"


@contextmanager
def running(host: str, values: Values, hidden: str) -> Iterator[Outside]:
    """Both, with an empty database whose owner may make roles, and with the topics; gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="todo-outside-", dir="/tmp"))
    folder.chmod(0o755)
    processes: list[subprocess.Popen[bytes]] = []
    names = f"IP:{host},DNS:todo-kafka-bootstrap.{hidden}.svc,DNS:*.todo-kafka-brokers.{hidden}.svc"
    found = Outside(host, _free_ports(host), uuid.uuid4().hex, _certificate(folder, names), hidden)
    try:
        processes.append(_postgres(folder, found))
        processes.append(_kafka(folder, found))
        _until(lambda: _prepare_database(found))
        _until(lambda: _make_topics(found, values))
        yield found
    finally:
        for process in processes:
            process.send_signal(signal.SIGINT)
        for process in processes:
            with suppress(subprocess.TimeoutExpired):
                process.wait(30)
            process.kill()
        shutil.rmtree(folder, ignore_errors=True)


def _free_ports(host: str) -> dict[str, int]:
    """A port for each listener, all free now, because several runs may be going on."""
    addresses = dict.fromkeys(("postgres", "kafka", "kafka-hidden"), host)
    addresses |= dict.fromkeys(("kafka-here", "controller"), "127.0.0.1")
    with ExitStack() as stack:
        servers = {name: stack.enter_context(_bound(address)) for name, address in addresses.items()}
        return {name: server.getsockname()[1] for name, server in servers.items()}


def _bound(address: str) -> socket.socket:
    # Not one that the system may give to an outgoing connection meanwhile.
    for port in random.sample(range(20000, 32768), 100):
        with suppress(OSError):
            return socket.create_server((address, port))
    raise AssertionError(f"no port is free at {address}")


def _tool(name: str) -> Path:
    settings = load(os.environ, cwd=Path("/"))
    found = tools.find(name, settings.cache, environ=os.environ)
    for progress in () if found else tools.install(name, settings.cache, environ=os.environ):
        found = progress.result or found
    assert found, f"{name} can't be had"
    return found.path


def _postgres(folder: Path, outside: Outside) -> subprocess.Popen[bytes]:
    programs, data = _tool("postgresql"), folder / "postgres"
    postgres.initialise(programs, data, outside.password)
    with (data / "postgresql.auto.conf").open("a") as settings:
        settings.write(f"listen_addresses = '127.0.0.1,{outside.host}'\n")
    with (data / "pg_hba.conf").open("a") as rules:
        rules.write("host all all 0.0.0.0/0 scram-sha-256\n")
    user = postgres.server_user()
    with (folder / "postgres.log").open("wb") as log:
        return subprocess.Popen(
            [programs / "postgres", "-D", data, "-p", str(outside.listens["postgres"])],
            user=user,
            group=user,
            extra_groups=[] if user else None,
            env={"LC_ALL": "C.UTF-8"},
            cwd="/",
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def _prepare_database(outside: Outside) -> bool:
    url = postgres.admin_url(outside.password, outside.listens["postgres"])
    try:
        # Only the owner: migrations make the roles, as on a managed database.
        with psycopg.connect(url, autocommit=True, connect_timeout=5) as link:
            link.execute(f"CREATE ROLE todo_owner LOGIN CREATEROLE PASSWORD '{outside.password}'")  # type: ignore[arg-type]
            link.execute("CREATE DATABASE todo OWNER todo_owner")
    except psycopg.OperationalError:
        return False
    return True


def _certificate(folder: Path, names: str) -> str:
    """A certificate for the broker, its own authority; key and chain for Java in one file."""
    key, certificate = folder / "key.pem", folder / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=todo-outside"]
    command += ["-addext", f"subjectAltName={names}", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    (folder / "broker.pem").write_text(key.read_text() + certificate.read_text())
    return certificate.read_text()


def _kafka(folder: Path, outside: Outside) -> subprocess.Popen[bytes]:
    controller = f"127.0.0.1:{outside.listens['controller']}"
    near = f"OUT://{outside.brokers},HERE://{outside.brokers_here}"
    hidden = f"HIDDEN://{outside.host}:{outside.listens['kafka-hidden']}"
    login = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    settings = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{controller}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"{near},{hidden},CONTROLLER://{controller}",
        "advertised.listeners": f"{near},HIDDEN://{outside.hidden_name}",
        "listener.security.protocol.map": "OUT:SASL_SSL,HIDDEN:SASL_SSL,HERE:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "inter.broker.listener.name": "HERE",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.out.scram-sha-512.sasl.jaas.config": login,
        "listener.name.hidden.scram-sha-512.sasl.jaas.config": login,
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(folder / "broker.pem"),
        "log.dirs": str(folder / "kafka"),
        "auto.create.topics.enable": "false",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "6000",
        "message.max.bytes": "2097152",
    }
    config = folder / "kafka.properties"
    config.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    java = [_tool("jre"), "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", f"{_tool('kafka')}/*"]
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A")
    account = f"SCRAM-SHA-512=[name={USER},password={outside.password}]"
    form = [*java, "kafka.tools.StorageTool", "format", "--cluster-id", cluster, "--config", config]
    subprocess.run([*form, "--add-scram", account], check=True, capture_output=True)
    with (folder / "kafka.log").open("wb") as log:
        return subprocess.Popen([*java, "kafka.Kafka", config], stdout=log, stderr=subprocess.STDOUT, cwd="/")


def _make_topics(outside: Outside, values: Values) -> bool:
    client = AdminClient({"bootstrap.servers": outside.brokers_here, "log_level": 0})
    topics = [
        NewTopic(t.name, t.partitions, 1, config={**t.config, "min.insync.replicas": "1"})
        for t in wanted_topics(values)
    ]
    try:
        for future in client.create_topics(topics, request_timeout=20).values():
            future.result(30)
    except KafkaException:
        # Not there yet, or an earlier attempt was answered too late.
        with suppress(KafkaException):
            return set(client.list_topics(timeout=5).topics) >= {topic.topic for topic in topics}
        return False
    return True


def _until(done: Callable[[], bool], *, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "the servers outside the cluster did not start"
        time.sleep(0.5)
