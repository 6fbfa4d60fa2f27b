"""The files that a part runs with: complete, private where they hold secrets, and written only when they change."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
import yaml

from tests.unit.sites import chart_values
from todoctl.adapters.processes import identity, supervisor
from todoctl.core.dapr import resources
from todoctl.core.parts import STATE_SECRET
from todoctl.operations.local import state
from todoctl.operations.local.assembly import Assembly, write_if_changed
from todoctl.settings import Settings

VALUES = chart_values()
CALLER = {"PATH": "/usr/bin", "HOME": "/home/me", "TZ": "UTC", "SECRET_OF_THE_CALLER": "x", "TODOCTL_HOME": "/x"}


@pytest.fixture
def assembly(settings: Settings) -> Assembly:
    """An environment whose files are not written yet."""
    recorded, _ = state.prepare(settings, VALUES, keep_ports=False)
    return Assembly(VALUES, recorded, CALLER, Path(sys.executable))


def files(assembly: Assembly) -> list[Path]:
    """Every generated file."""
    return [path for path in assembly.state.folders.config.rglob("*") if path.is_file()]


def test_every_part_is_written_once(assembly: Assembly) -> None:
    """The first time everything changes; the second time nothing does, and no file is touched."""
    names = list(assembly.parts)
    assert [assembly.write_part(name) for name in names] == [True] * len(names)
    assert assembly.write_supervisor_config()[1]
    before = {path: path.stat().st_mtime_ns for path in files(assembly)}
    assert [assembly.write_part(name) for name in names] == [False] * len(names)
    assert not assembly.write_supervisor_config()[1]
    assert {path: path.stat().st_mtime_ns for path in files(assembly)} == before


def test_secrets_are_only_in_files_of_the_owner(assembly: Assembly) -> None:
    """A file that anybody may read holds no password and no token."""
    for name in assembly.parts:
        assembly.write_part(name)
    stored = assembly.state.secrets
    secrets = [*stored.passwords.values(), stored.app_token, stored.dapr_token, stored.service_token]
    holding = [path for path in files(assembly) if any(secret in path.read_text() for secret in secrets)]
    assert holding
    assert not [path for path in holding if path.stat().st_mode & 0o077]


def test_a_spec_is_what_the_launcher_takes(assembly: Assembly) -> None:
    """Each part's spec has its command, its environment with the mark, and where to write who it is."""
    for name, part in assembly.parts.items():
        assembly.write_part(name)
        spec = json.loads(supervisor.spec_path(assembly.state.folders, name).read_text())
        assert spec["argv"] == list(part.argv)
        assert spec["env"][identity.INSTANCE_VARIABLE] == str(assembly.state.folders.root)
        assert spec["identity"] == str(assembly.state.folders.run / f"{name}.json")
        assert spec["parent_death_signal"] == int(part.stop_signal)
        assert (spec["user"] is not None) == (part.drops_user and os.geteuid() == 0)


def test_little_of_the_callers_environment_is_passed_on(assembly: Assembly) -> None:
    """A part gets what programs need and nothing else of the caller's: neither secrets nor todoctl's own settings."""
    passed = assembly.base_environ
    assert {name: passed[name] for name in ("PATH", "HOME", "TZ")} == {
        "PATH": "/usr/bin",
        "HOME": "/home/me",
        "TZ": "UTC",
    }
    assert not {"SECRET_OF_THE_CALLER", "TODOCTL_HOME"} & set(passed)


def test_kafka_listens_on_loopback_and_makes_no_topic_by_itself(assembly: Assembly) -> None:
    """The broker's settings name 127.0.0.1 only, one replica of everything, and the ports of this environment."""
    assembly.write_part("kafka")
    text = (assembly.state.folders.config / "kafka.properties").read_text()
    settings = dict(line.split("=", 1) for line in text.splitlines())
    ports = assembly.state.ports
    assert settings["listeners"] == (
        f"PLAINTEXT://127.0.0.1:{ports['kafka']},CONTROLLER://127.0.0.1:{ports['kafka-controller']}"
    )
    assert settings["advertised.listeners"] == f"PLAINTEXT://127.0.0.1:{ports['kafka']}"
    assert settings["auto.create.topics.enable"] == "false"
    assert settings["offsets.topic.replication.factor"] == "1"
    assert settings["log.dirs"] == str(assembly.state.folders.data / "kafka")


@pytest.mark.parametrize("app", VALUES.services)
def test_a_sidecars_files_are_the_charts_documents(assembly: Assembly, app: str) -> None:
    """What daprd reads is what the core made, as YAML, and its secret file holds what the service uses and no more."""
    assembly.write_part(f"{app}-daprd")
    folder = assembly.state.folders.config / "dapr" / app
    found = {path.name: yaml.safe_load(path.read_text()) for path in (folder / "resources").iterdir()}
    broker = f"127.0.0.1:{assembly.state.ports['kafka']}"
    secrets_file = str(folder / "secrets.json")
    assert found == resources(VALUES, app, brokers=broker, secrets_file=secrets_file, state_connection=STATE_SECRET)
    held = json.loads((folder / "secrets.json").read_text())
    service = VALUES.services[app]
    assert set(held) == set(service.secrets) | ({STATE_SECRET} if service.state else set())
    assert yaml.safe_load((folder / "configuration.yaml").read_text())["kind"] == "Configuration"


def test_a_component_that_is_no_longer_wanted_is_removed(assembly: Assembly) -> None:
    """What an older chart wrote would still be opened by the sidecar."""
    assembly.write_part("api-daprd")
    stale = assembly.state.folders.config / "dapr" / "api" / "resources" / "stale.yaml"
    stale.write_text("kind: Component\n")
    assert assembly.write_part("api-daprd")
    assert not stale.exists()


def test_a_file_is_written_whole_and_with_its_mode(tmp_path: Path) -> None:
    """New folders are made, the mode is as asked, nothing is left beside the file."""
    path = tmp_path / "new" / "file"
    assert write_if_changed(path, "one", mode=0o600)
    assert not write_if_changed(path, "one", mode=0o600)
    assert write_if_changed(path, "two", mode=0o600)
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("two", 0o600)
    assert [item.name for item in path.parent.iterdir()] == ["file"]


def test_a_file_that_is_no_text_is_replaced(tmp_path: Path) -> None:
    """What a full disk left behind does not stop a new start."""
    path = tmp_path / "file"
    path.write_bytes(b"\xff\xfe")
    assert write_if_changed(path, "good", mode=0o600)
    assert path.read_text() == "good"
