"""Brokers that ask for a certificate, and clusters of which a part is away."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import Producer, admin

from tests.live.broker import KafkaServer, free_ports, kafka_server
from tests.live.kafka_program import for_server
from tests.program import Ended, Program, until
from todoctl.adapters.kafka import client


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, and what it signed: the broker's certificate and the client's."""
    folder = tmp_path_factory.mktemp("papers")
    _openssl(folder, "req", "-x509", "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.pem")
    for name in ("broker", "client"):
        request = (
            "-subj",
            f"/CN={name}",
            "-addext",
            "subjectAltName=IP:127.0.0.1",
            "-CA",
            "ca.pem",
            "-CAkey",
            "ca.key",
        )
        _openssl(folder, "req", "-x509", *request, "-keyout", f"{name}.key", "-out", f"{name}.pem")
        (folder / f"{name}.both.pem").write_bytes(
            b"".join((folder / f"{name}.{part}").read_bytes() for part in ("key", "pem"))
        )
    return folder


def _openssl(folder: Path, command: str, *arguments: str) -> None:
    made = ("-newkey", "rsa:2048", "-nodes", "-days", "2")
    subprocess.run(["openssl", command, *made, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture(scope="module")
def guarded(papers: Path) -> Iterator[tuple[KafkaServer, str]]:
    """A broker, and the address of a second listener of its that takes the authority's clients and no others."""
    with _second_listener("SSL", papers, {"ssl.client.auth": "required"}) as found:
        yield found


@pytest.fixture(scope="module")
def asking(papers: Path) -> Iterator[tuple[KafkaServer, str]]:
    """A broker, and the address of a second listener of its that takes who logs in as ada with her password."""
    module = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    settings = {
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.second.scram-sha-512.sasl.jaas.config": module,
    }
    with _second_listener("SASL_SSL", papers, settings) as (server, address):
        ada = admin.UserScramCredentialUpsertion(
            "ada", admin.ScramCredentialInfo(admin.ScramMechanism.SCRAM_SHA_512, 4096), b"her password"
        )
        for done in client.administrator(server.client).alter_user_scram_credentials([ada]).values():
            done.result(30)
        yield server, address


@contextmanager
def _second_listener(protocol: str, papers: Path, more: dict[str, str]) -> Iterator[tuple[KafkaServer, str]]:
    address = f"127.0.0.1:{free_ports(1)[0]}"
    settings = {
        "listeners": f"PLAINTEXT://127.0.0.1:{{port}},SECOND://{address},CONTROLLER://127.0.0.1:{{controller}}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{{port}},SECOND://{address}",
        "listener.security.protocol.map": f"PLAINTEXT:PLAINTEXT,SECOND:{protocol},CONTROLLER:PLAINTEXT",
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(papers / "broker.both.pem"),
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(papers / "ca.pem"),
    }
    with kafka_server(settings | more) as server:
        yield server, address


def _program(folder: Path, address: str, *, protocol: str = "PLAINTEXT", **files: Path) -> Program:
    """Todoctl whose environment is this broker."""
    program = Program(folder)
    program.work.mkdir()
    lines = ["[environments.there]", 'kind = "kubernetes"', "[environments.there.kafka]"]
    lines += [f'bootstrap = "{address}"', f'security_protocol = "{protocol}"']
    lines += [f'{name} = "{path}"' for name, path in files.items()]
    (program.work / "todoctl.toml").write_text("\n".join(lines) + "\n")
    return program


def test_a_client_with_a_certificate_is_let_in(guarded: tuple[KafkaServer, str], papers: Path, tmp_path: Path) -> None:
    """TLS in both directions, from three files that the environment names."""
    server, address = guarded
    topic = server.topic()
    files = {"ca_file": papers / "ca.pem", "certificate_file": papers / "client.pem", "key_file": papers / "client.key"}
    program = _program(tmp_path, address, protocol="SSL", **files)
    (program.work / "hello").write_text("hello")
    made = program.run("-e", "there", "topics", "produce", topic, "--raw", "hello")
    assert made.code == 0, made.err
    read = program.run("-e", "there", "topics", "tail", topic, "-o", "raw")
    assert (read.code, read.out) == (0, "hello\n"), read.err


@pytest.mark.parametrize("authority", ["ca.pem", "client.pem"])
def test_a_handshake_that_fails_says_so(
    guarded: tuple[KafkaServer, str], papers: Path, tmp_path: Path, authority: str
) -> None:
    """The broker hangs up on a client without a certificate, and todoctl on a broker of another authority."""
    _, address = guarded
    program = _program(tmp_path, address, protocol="SSL", ca_file=papers / authority)
    ended = program.run("-e", "there", "topics", "list")
    assert ended.code == 1
    assert "certificate" in ended.err
    assert "next:" in ended.err


@pytest.fixture
def ada(asking: tuple[KafkaServer, str], papers: Path, tmp_path: Path) -> Program:
    """Todoctl whose environment logs in at the broker, with a password that lies in a file."""
    program = _program(tmp_path, asking[1], protocol="SASL_SSL", ca_file=papers / "ca.pem")
    lines = ['sasl_mechanism = "SCRAM-SHA-512"', 'username = {env = "KAFKA_USER"}', 'password = {file = "password"}']
    with (program.work / "todoctl.toml").open("a") as config:
        config.write("\n".join(lines) + "\n")
    return replace(program, variables={"KAFKA_USER": "ada"})


def test_who_logs_in_is_let_in(asking: tuple[KafkaServer, str], ada: Program) -> None:
    """By SCRAM over TLS, for writing, reading and asking."""
    topic = asking[0].topic()
    (ada.work / "password").write_text("her password\n")
    (ada.work / "hello").write_text("hello")
    made = ada.run("-e", "there", "topics", "produce", topic, "--raw", "hello")
    assert made.code == 0, made.err
    read = ada.run("-e", "there", "topics", "tail", topic, "-o", "raw")
    assert (read.code, read.out) == (0, "hello\n"), read.err
    assert topic in ada.run("-e", "there", "topics", "list").out


def test_a_refused_password_is_said_and_not_shown(ada: Program) -> None:
    """A wrong one, one that is not there, and a user whom nobody knows."""
    nothing = ada.run("-e", "there", "topics", "list")
    assert (nothing.code, "password" in nothing.err) == (2, True), nothing.err
    (ada.work / "password").write_text("not-her-password")
    for program in (ada, replace(ada, variables={"KAFKA_USER": "nobody"})):
        refused = program.run("-e", "there", "topics", "list")
        assert refused.code == 1
        assert "uthentication failed" in refused.err
        assert "next: todoctl -e there env show" in refused.err
        assert "not-her-password" not in refused.err


@pytest.fixture
def pair(own_kafka: KafkaServer) -> Iterator[tuple[KafkaServer, str]]:
    """The second broker of a cluster of two, and a topic of which each leads one partition, a record in both."""
    controller = re.search(r"^controller.quorum.voters=1@(.*)$", own_kafka.properties, re.MULTILINE)
    assert controller
    settings = {
        "process.roles": "broker",
        "node.id": "2",
        "controller.quorum.voters": f"1@{controller[1]}",
        "listeners": "PLAINTEXT://127.0.0.1:{port}",
    }
    with kafka_server(settings) as second:
        asked = client.administrator(own_kafka.client)
        until(lambda: len(asked.list_topics(timeout=10).brokers) == 2, "two brokers", 60)
        topic = own_kafka.topic(count=2)
        producer = Producer(own_kafka.librdkafka)
        for partition in (0, 1):
            producer.produce(topic, value=b"in %d" % partition, partition=partition)
        assert producer.flush(30) == 0
        leaders = {part.leader for part in asked.list_topics(topic, timeout=10).topics[topic].partitions.values()}
        assert leaders == {1, 2}
        yield second, topic


def test_what_a_broker_that_is_away_leads_is_named(
    own_kafka: KafkaServer, pair: tuple[KafkaServer, str], tmp_path: Path
) -> None:
    """Nothing hangs and nothing looks empty: who reads is told which partition has nobody, and may read the others."""
    second, topic = pair
    program = _program(tmp_path, own_kafka.address)
    second.end(signal.SIGKILL)
    ended = program.run("-e", "there", "topics", "tail", topic, "--from", "beginning", "-o", "raw")
    assert (ended.code, ended.out) == (3, ""), ended.err
    away = re.search(rf"leads {topic}/(\d)", ended.err)
    assert away, ended.err
    other = 1 - int(away[1])
    read = program.run("-e", "there", "topics", "tail", topic, "-p", str(other), "--from", "beginning", "-o", "raw")
    assert (read.code, read.out) == (0, f"in {other}\n"), read.err

    def unled() -> Ended | None:
        described = program.run("-e", "there", "topics", "describe", topic, "-o", "json")
        return described if "no broker leads" in described.err else None

    described = until(unled, "the cluster notices", 60)
    parts = {part["number"]: part for part in described.json()["partitions"]}
    assert (described.code, parts[1 - other]["leader"], parts[1 - other]["end"], parts[other]["end"]) == (
        0,
        -1,
        None,
        1,
    )
    [listed] = [
        row for row in program.run("-e", "there", "topics", "list", "-o", "json").json() if row["name"] == topic
    ]
    assert listed["records"] is None


@pytest.fixture(scope="module")
def misled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What a listener of a broker with the chart's topics advertises → where that listener really is."""
    wrong = {"NOWHERE": "nowhere.invalid:9092", "CLOSED": "127.0.0.1:1"}
    found = {name: f"127.0.0.1:{port}" for name, port in zip(wrong, free_ports(len(wrong)), strict=True)}
    right, controller = {"PLAINTEXT": "127.0.0.1:{port}"}, {"CONTROLLER": "127.0.0.1:{controller}"}
    settings = {
        "listeners": _listed(right | found | controller),
        "advertised.listeners": _listed(right | wrong),
        "listener.security.protocol.map": ",".join(f"{name}:PLAINTEXT" for name in right | wrong | controller),
    }
    with kafka_server(settings) as server:
        assert for_server(tmp_path_factory.mktemp("misled"), server).inside("topics", "apply").code == 0
        yield {advertised: found[name] for name, advertised in wrong.items()}


def _listed(listeners: dict[str, str]) -> str:
    return ",".join(f"{name}://{address}" for name, address in listeners.items())


@pytest.mark.parametrize(
    ("advertised", "why"),
    [("nowhere.invalid:9092", "this machine does not know the name"), ("127.0.0.1:1", "the connection is refused")],
)
@pytest.mark.parametrize(
    "command",
    [
        ("topics", "list"),
        ("topics", "describe", "task-events"),
        ("topics", "lag"),
        ("topics", "tail", "task-events"),
        ("topics", "tail", "task-events", "--from", "beginning", "-o", "raw"),
        ("topics", "produce", "task-events", "--raw", "hello"),
        ("groups", "list"),
        ("groups", "reset", "audit", "--topic", "task-events", "--to", "end"),
        ("dlq", "list"),
        ("dlq", "plan"),
    ],
    ids=" ".join,
)
def test_an_advertised_address_that_cannot_be_reached_is_named(
    misled: dict[str, str], tmp_path: Path, command: tuple[str, ...], advertised: str, why: str
) -> None:
    """Who was asked answered; who that was told of can't be reached. Both are named, with the setting to look at."""
    program = _program(tmp_path, misled[advertised])
    (program.work / "hello").write_text("hello")
    ended = program.inside("-e", "there", *command)
    assert (ended.code, ended.out) == (3, ""), ended
    assert (
        f"{misled[advertised]} answered, but broker 1, which advertises {advertised}, can't be reached: {why}"
        in ended.err
    )
    assert "advertised.listeners" in ended.err
    assert "todoctl -e there env show" in ended.err
