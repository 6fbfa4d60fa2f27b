"""supervisord: the configuration that is generated, and a real one that runs with it."""

from __future__ import annotations

import configparser
import json
import os
import shlex
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.program import until
from tests.unit.sites import chart_values, site
from todoctl.adapters.processes import identity, launcher, supervisor
from todoctl.core.parts import Part, make_parts
from todoctl.core.site import Folders
from todoctl.errors import TodoctlError

SLEEPER = Part("sleeper", "service", ("/bin/sleep", "600"), {"http": 1})
OTHER = replace(SLEEPER, name="other", argv=("/bin/sleep", "700"))


def parsed(text: str) -> configparser.RawConfigParser:
    """The configuration as supervisord reads it, before it expands anything."""
    config = configparser.RawConfigParser(inline_comment_prefixes=(";",))
    config.read_string(text)
    return config


@pytest.fixture(scope="module")
def chart_config() -> configparser.RawConfigParser:
    """The configuration of the chart's parts."""
    here = site(chart_values(), Path("/srv/todoctl/local"))
    return parsed(supervisor.render_config(here.folders, make_parts(here)))


def test_every_part_starts_through_the_launcher(chart_config: configparser.RawConfigParser) -> None:
    """Each program's command is the launcher with the part's spec; nothing of the part itself is in the file."""
    here = site(chart_values(), Path("/srv/todoctl/local"))
    for part in make_parts(here):
        command = shlex.split(chart_config[f"program:{part.name}"]["command"])
        spec = str(supervisor.spec_path(here.folders, part.name).relative_to(here.folders.root))
        assert command == [sys.executable, "-I", "-S", str(launcher.__file__), spec]


def test_every_part_is_started_on_demand_and_restarted_for_ever(chart_config: configparser.RawConfigParser) -> None:
    """The ordering is ours; supervisord restarts whatever ends and never gives up by itself."""
    programs = [chart_config[name] for name in chart_config.sections() if name.startswith("program:")]
    assert len(programs) == len(make_parts(site(chart_values(), Path("/srv"))))
    for program in programs:
        assert (program["autostart"], program["autorestart"], program["startsecs"]) == ("false", "true", "0")


def test_parts_stop_with_their_own_signal(chart_config: configparser.RawConfigParser) -> None:
    """PostgreSQL gets INT, a sidecar TERM, each with its time before it is killed."""
    assert chart_config["program:postgres"]["stopsignal"] == "INT"
    assert chart_config["program:api-daprd"]["stopsignal"] == "TERM"
    assert int(chart_config["program:kafka"]["stopwaitsecs"]) > 0


def test_logs_are_one_file_per_part_and_bounded(chart_config: configparser.RawConfigParser) -> None:
    """Both streams go to the part's log, which is rotated as `todoctl logs` expects it."""
    program = chart_config["program:api"]
    assert program["stdout_logfile"] == "log/api.log"
    assert (program["redirect_stderr"], program["stdout_logfile_backups"]) == ("true", "2")


def test_the_control_socket_is_private(chart_config: configparser.RawConfigParser) -> None:
    """Only its owner may talk to supervisord, over a socket and no port."""
    assert chart_config["unix_http_server"]["chmod"] == "0700"
    assert "inet_http_server" not in chart_config


def test_the_users_folder_is_not_in_the_configuration() -> None:
    """A folder's name may hold what supervisord's reader would take for its own: `%`, quotes, semicolons."""
    here = site(chart_values(), Path("/srv/of ;%(here)s/local"))
    assert "/srv/" not in supervisor.render_config(here.folders, make_parts(here))


def test_no_secret_is_in_the_configuration() -> None:
    """Secrets are in the specs, which only the owner reads."""
    here = site(chart_values(), Path("/srv/todoctl/local"))
    assert "secret-" not in supervisor.render_config(here.folders, make_parts(here))


@pytest.mark.parametrize("depth", [1, 5, 40])
def test_the_socket_path_stays_short(depth: int) -> None:
    """A deep folder gets a socket elsewhere: the kernel takes a little over 100 bytes."""
    folders = Folders(Path("/srv", *["folder-ü"] * depth))
    path = supervisor.socket_path(folders)
    assert len(os.fsencode(path)) < 100
    assert path == supervisor.socket_path(folders)
    assert path.is_relative_to(folders.root) == (depth < 10)


def test_two_deep_folders_have_two_sockets() -> None:
    """Sockets outside the folders don't collide."""
    paths = {supervisor.socket_path(Folders(Path("/srv", "x" * 100, name))) for name in ("one", "two")}
    assert len(paths) == 2


class Daemon:
    """A real supervisord over a folder, with parts that sleep."""

    def __init__(self, root: Path) -> None:
        self.folders = Folders(root)
        for folder in (self.folders.config / "parts", self.folders.logs, self.folders.run):
            folder.mkdir(parents=True)
        self.config = self.folders.config / "supervisord.conf"

    def write(self, *parts: Part) -> None:
        """The configuration and specs of the parts."""
        self.config.write_text(supervisor.render_config(self.folders, parts))
        for part in parts:
            spec: dict[str, Any] = {
                "name": part.name,
                "argv": part.argv,
                "env": self.environ(),
                "cwd": "/",
                "needs": [],
                "user": None,
                "parent_death_signal": int(signal.SIGTERM),
                "identity": str(self.folders.run / f"{part.name}.json"),
            }
            supervisor.spec_path(self.folders, part.name).write_text(json.dumps(spec))

    def environ(self) -> Mapping[str, str]:
        return {identity.INSTANCE_VARIABLE: str(self.folders.root), "PATH": os.defpath}

    def start(self) -> None:
        supervisor.start_daemon(self.folders, self.config, self.environ())

    def pid(self, name: str) -> int | None:
        """The pid of a part that runs."""
        with supervisor.connect(self.folders) as control:
            process = control.processes()[name]
            return process.pid if process.is_running else None


@pytest.fixture
def daemon() -> Iterator[Daemon]:
    """A supervisord that is not started yet, in a folder whose name needs care; nothing of it is left afterwards."""
    with tempfile.TemporaryDirectory(prefix="t 'd\" ;%(here)s ü ") as folder:
        made = Daemon(Path(folder) / "local")
        yield made
        # Killed, because asked politely it takes seconds.
        assert identity.end(identity.survivors(made.folders.root), seconds=0) == []


def test_a_part_runs_from_start_to_stop(daemon: Daemon) -> None:
    """Start, start again, stop, stop again; in between it is the part itself that runs."""
    daemon.write(SLEEPER)
    daemon.start()
    with supervisor.connect(daemon.folders) as control:
        assert control.is_alive()
        assert control.processes()["sleeper"].state == "STOPPED"
        control.start("sleeper")
        control.start("sleeper")
        pid = until(lambda: daemon.pid("sleeper"), "the part has a pid")
        until(lambda: psutil.Process(pid).name() == "sleep", "the launcher became the part")
        assert control.processes()["sleeper"].started_at is not None
        assert list(control.stop(["sleeper"])) == ["sleeper"]
        assert list(control.stop(["sleeper"])) == ["sleeper"]
        assert not psutil.pid_exists(pid)
        assert not control.processes()["sleeper"].is_running
        own = control.pid()
        control.shutdown()
    until(lambda: not psutil.pid_exists(own), "supervisord is gone")
    with supervisor.connect(daemon.folders) as control:
        assert not control.is_alive()


def test_a_part_that_is_killed_comes_back(daemon: Daemon) -> None:
    """After a SIGKILL the part runs again, with another pid."""
    daemon.write(SLEEPER)
    daemon.start()
    with supervisor.connect(daemon.folders) as control:
        control.start("sleeper")
    first = until(lambda: daemon.pid("sleeper"), "the part has a pid")
    os.kill(first, signal.SIGKILL)
    until(lambda: daemon.pid("sleeper") not in {None, first}, "the part has another pid")


def test_a_reload_takes_over_what_changed(daemon: Daemon) -> None:
    """New parts are added, removed ones stopped, and who did not change keeps running."""
    gone = replace(SLEEPER, name="gone")
    daemon.write(SLEEPER, gone)
    daemon.start()
    with supervisor.connect(daemon.folders) as control:
        control.start("sleeper")
        control.start("gone")
        sleeper = until(lambda: daemon.pid("sleeper"), "it runs")
        gone_pid = until(lambda: daemon.pid("gone"), "it runs")
        daemon.write(SLEEPER, OTHER)
        control.reload()
        assert set(control.processes()) == {"sleeper", "other"}
        control.start("other")
    assert daemon.pid("sleeper") == sleeper
    assert not psutil.pid_exists(gone_pid)


def test_a_supervisord_that_is_killed_takes_its_parts_along(daemon: Daemon) -> None:
    """After kill -9 of supervisord its parts end by themselves, and it starts again over the stale socket."""
    daemon.write(SLEEPER)
    daemon.start()
    with supervisor.connect(daemon.folders) as control:
        control.start("sleeper")
        part = until(lambda: daemon.pid("sleeper"), "the part has a pid")
        os.kill(control.pid(), signal.SIGKILL)
        until(lambda: not control.is_alive(), "supervisord is gone")
    until(lambda: not psutil.pid_exists(part), "the part is gone")
    daemon.start()
    with supervisor.connect(daemon.folders) as control:
        assert control.is_alive()


def test_what_supervisord_refuses_is_an_error_of_ours(daemon: Daemon) -> None:
    """A part that it does not know is told as such; without a supervisord every call says that."""
    daemon.write(SLEEPER)
    daemon.start()
    with supervisor.connect(daemon.folders) as control, pytest.raises(TodoctlError, match="refused to start nobody"):
        control.start("nobody")
    with supervisor.connect(Folders(daemon.folders.root / "elsewhere")) as control:
        assert not control.is_alive()
        with pytest.raises(TodoctlError, match="did not answer when asked to list processes"):
            control.processes()


def test_a_configuration_that_is_none_is_said(daemon: Daemon) -> None:
    """What supervisord itself says is the detail."""
    daemon.config.write_text("[supervisord]\nlogfile=/no/such/folder/log\n")
    with pytest.raises(TodoctlError, match="supervisord did not start") as caught:
        daemon.start()
    assert caught.value.detail
