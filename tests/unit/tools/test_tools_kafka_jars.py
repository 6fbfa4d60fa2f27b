"""Kafka's jars: each is held to the lock file, wherever it comes from."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.tools.machines import Machine
from todoctl.adapters.tools import kafka_jars, pins
from todoctl.adapters.tools.model import Progress
from todoctl.errors import MissingError, TodoctlError
from todoctl.operations import tools

ONE, TWO = "org.example:one:1.0", "org.example:two:2.0"


def install(machine: Machine, name: str = "kafka") -> list[Progress]:
    """All news of an installation."""
    return list(tools.install(name, machine.cache, environ=machine.environ, pins=machine.pins))


def installed(machine: Machine) -> tools.Tool:
    """What an installation gives."""
    result = install(machine)[-1].result
    assert result is not None
    return result


def test_the_lock_file_is_of_the_pinned_version() -> None:
    """It names Kafka in the pinned version, a log backend, and no file name twice."""
    jars = kafka_jars.locked(pins.load())
    coordinates = {jar.coordinate for jar in jars}
    assert set(pins.load().kafka.roots) <= coordinates
    assert f"org.apache.kafka:kafka-clients:{pins.load().kafka.version}" in coordinates
    assert len({jar.name for jar in jars}) == len(jars) > 40
    assert all(len(jar.sha256) == 64 for jar in jars)


def test_jars_in_the_users_maven_repository_need_no_network(machine: Machine) -> None:
    """They are copied when their hashes are right."""
    kafka = installed(machine.jars(ONE, TWO))
    assert [jar.name for jar in tools.classpath(kafka)] == ["one-1.0.jar", "two-2.0.jar"]
    assert (kafka.source, kafka.version) == ("maven", pins.load().kafka.version)


def test_jars_brought_by_hand_need_no_network(machine: Machine) -> None:
    """The folder that the error message names is looked into."""
    offline = machine.jars(ONE)
    offline.site.by_hand.mkdir(parents=True)
    shutil.move(machine.root / "repository" / "org" / "example" / "one" / "1.0" / "one-1.0.jar", offline.site.by_hand)
    assert tools.classpath(installed(offline))


def test_a_repository_is_asked_for_what_is_not_here(machine: Machine, serve: Callable[[Path], str]) -> None:
    """Downloads go through jgo from a Maven repository."""
    online = _online(machine.jars(ONE, TWO), serve)
    news = install(online)
    assert [step.phase for step in news][-1] == "ready"
    assert any("2 of 2 jars" in step.message for step in news)


def test_a_corrupted_jar_is_fetched_again_and_the_good_ones_kept(machine: Machine) -> None:
    """Only the broken one is replaced; here the good one could not be had a second time."""
    local = machine.jars(ONE, TWO)
    kafka = installed(local)
    (kafka.path / "one-1.0.jar").write_text("rubbish")
    (machine.root / "repository" / "org" / "example" / "two" / "2.0" / "two-2.0.jar").unlink()
    assert tools.find("kafka", local.cache, environ=local.environ, pins=local.pins) is None
    repaired = installed(local)
    assert (repaired.path / "one-1.0.jar").read_text() == f"content of {ONE}"
    assert (repaired.path / "two-2.0.jar").read_text() == f"content of {TWO}"


def test_a_repository_that_sends_something_else_is_not_believed(machine: Machine, serve: Callable[[Path], str]) -> None:
    """The download is tried twice, then the message names the jar; nothing is installed."""
    online = _online(machine.jars(ONE), serve)
    (machine.root / "served" / "org" / "example" / "one" / "1.0" / "one-1.0.jar").write_text("something else")
    with pytest.raises(MissingError) as caught:
        install(online)
    assert "one-1.0.jar: what was downloaded does not have the hash in kafka.lock" in "\n".join(caught.value.detail)
    assert tools.find("kafka", online.cache, environ=online.environ, pins=online.pins) is None
    assert not list(online.cache.glob("tmp-*"))


def test_without_a_network_the_missing_jar_is_named(machine: Machine) -> None:
    """The message says which file, where it was looked for, and how to bring it."""
    offline = machine.jars(ONE)
    shutil.rmtree(machine.root / "repository")
    with pytest.raises(MissingError, match=r"kafka .* is not on this machine and can't be fetched") as caught:
        install(offline)
    said = "\n".join(caught.value.detail)
    assert f"one-1.0.jar ({ONE}) can't be downloaded, and is not in {machine.root / 'repository'}" in said
    assert str(offline.site.by_hand) in said
    assert "put the jars" in caught.value.hint
    assert caught.value.exit_code == 9


def test_a_disk_without_room_is_named(machine: Machine) -> None:
    """Before anything is fetched."""
    with pytest.raises(TodoctlError, match="Kafka needs"):
        install(machine.jars(ONE).with_pins("kafka", mib=1_000_000_000))


def _online(machine: Machine, serve: Callable[[Path], str]) -> Machine:
    """The same jars on a server, none on this machine."""
    served = machine.root / "served"
    for jar in (machine.root / "repository").rglob("*.jar"):
        target = served / jar.relative_to(machine.root / "repository")
        target.parent.mkdir(parents=True)
        jar.rename(target)
    return machine.with_pins("kafka", mirrors={"test": serve(served)})
