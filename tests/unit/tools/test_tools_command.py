"""`todoctl tools` as typed: what is on stdout, what is on stderr, and the exit code."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.tools.machines import Machine, alive, until

FIELDS = [
    "name",
    "purpose",
    "pinned",
    "needed",
    "found",
    "version",
    "source",
    "path",
    "why",
    "broken",
    "looked",
]


def start(machine: Machine, *arguments: str) -> subprocess.Popen[str]:
    """A `todoctl tools` that sees only this machine."""
    environ = {
        **machine.environ,
        "PYTHONPATH": ":".join(sys.path),
        "TODOCTL_CACHE": str(machine.cache),
        # httpx sends everything there, so the real release host is never asked.
        "HTTPS_PROXY": "http://127.0.0.1:9",
    }
    command = [sys.executable, "-m", "todoctl", "tools", *arguments]
    return subprocess.Popen(
        command, env=environ, cwd=machine.root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def run(machine: Machine, *arguments: str) -> tuple[int, str, str]:
    """Its exit code, stdout and stderr."""
    process = start(machine, *arguments)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_the_list_has_a_stable_shape(machine: Machine) -> None:
    """One object per tool with these fields; nothing on stderr; missing tools are no failure of `list`."""
    machine.dapr(machine.bin / "daprd")
    code, out, err = run(machine, "list", "-o", "json")
    assert (code, err) == (0, "")
    rows = json.loads(out)
    assert all(list(row) == FIELDS for row in rows)
    tools = {row["name"]: row for row in rows}
    assert tools["daprd"]["found"]
    assert tools["daprd"]["version"] == "1.16.4"
    assert tools["kafka"]["path"] is None
    assert tools["scheduler"]["looked"][0] == {"source": "PATH", "reason": "no scheduler on PATH"}


@pytest.mark.parametrize("output", ["table", "yaml", "jsonl"])
def test_the_list_comes_in_every_format(machine: Machine, output: str) -> None:
    """The other formats hold the same tools."""
    code, out, _ = run(machine, "list", "-o", output)
    assert code == 0
    for name in ("jre", "kafka", "postgresql", "daprd", "scheduler", "socket.io-client", "go"):
        assert name in out


def test_a_missing_tool_ends_with_9_and_the_way_out(machine: Machine) -> None:
    """Stderr says what was tried and the next step; stdout stays empty."""
    code, out, err = run(machine, "install", "scheduler")
    assert (code, out) == (9, "")
    assert "scheduler (1.16: release" in err
    assert "no scheduler on PATH" in err
    assert f"put a scheduler of line 1.16 on PATH or at {machine.cache}/by-hand/scheduler" in err


def test_an_unknown_tool_ends_with_2(machine: Machine) -> None:
    """And names the known ones."""
    code, _, err = run(machine, "install", "docker")
    assert code == 2
    assert "there are: jre, kafka, postgresql, daprd, scheduler, socket.io-client, go" in err


def test_installing_gives_the_tools_on_stdout(machine: Machine) -> None:
    """Narration on stderr, one row per tool on stdout."""
    machine.go()
    code, out, err = run(machine, "install", "daprd", "-o", "json")
    assert code == 0, err
    (row,) = json.loads(out)
    assert (row["name"], row["source"]) == ("daprd", "go build")
    assert Path(row["path"]).is_file()
    assert "ready" in err


def test_verify_ends_with_3_when_a_file_differs(machine: Machine) -> None:
    """The list is still given; stderr names the file and the command that repairs it."""
    machine.go()
    _, out, _ = run(machine, "install", "daprd", "-o", "json")
    Path(json.loads(out)[0]["path"]).write_text("cut")
    code, out, err = run(machine, "list", "--verify", "-o", "json")
    assert code == 3
    assert json.loads(out)
    assert "daprd has 3 bytes in place of" in err
    assert "next: todoctl tools install" in err
    assert run(machine, "install", "daprd")[0] == 0
    assert run(machine, "list", "--verify")[0] == 0


def test_ctrl_c_ends_the_build_with_130(machine: Machine) -> None:
    """Go ends with todoctl, and nothing of the installation is left."""
    machine.go()
    (machine.fake / "hold").touch()
    process = start(machine, "install", "daprd")
    until((machine.fake / "pid").exists, "Go compiles")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130, err
    pid = int((machine.fake / "pid").read_text())
    until(lambda: not alive(pid), "Go ends")
    assert not list(machine.cache.glob("tmp-*"))
