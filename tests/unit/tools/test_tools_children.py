"""Child processes: their output, their failure, and that none outlives todoctl."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.unit.tools.machines import alive, until
from todoctl.adapters.tools.children import CancelledError, Children
from todoctl.adapters.tools.model import UnavailableError
from todoctl.errors import TodoctlError

# A child that starts one of its own, says both ids and stays.
FAMILY = 'sleep 60 & echo "$$ $!" > "$1"; echo started; wait'


def test_lines_come_as_they_are_said(tmp_path: Path) -> None:
    """Both streams, in order, without line ends."""
    said = Children().run(["sh", "-c", "echo one; echo two >&2"], environ=os.environ)
    assert [line for line in said if line is not None] == ["one", "two"]


def test_a_failed_child_says_why_in_the_detail() -> None:
    """The exit code and the last lines, no more than 20."""
    with pytest.raises(UnavailableError, match="sh failed with exit code 3") as caught:
        list(
            Children().run(
                ["sh", "-c", "i=0; while [ $i -lt 50 ]; do echo $i; i=$((i+1)); done; exit 3"], environ=os.environ
            )
        )
    assert caught.value.detail == tuple(str(number) for number in range(30, 50))


def test_output_that_is_not_text_is_no_failure() -> None:
    """Bytes that are not UTF-8 are shown as replacement characters."""
    said = Children().run(["sh", "-c", r"printf '\377\n'"], environ=os.environ)
    assert [line for line in said if line is not None] == ["\ufffd"]


def test_a_full_disk_is_not_a_missing_tool() -> None:
    """What a child says about the disk decides the error; lines of any length are cut."""
    script = "printf 'x%.0s' $(seq 2000); echo; echo '[Errno 28] No space left on device'; exit 1"
    with pytest.raises(TodoctlError, match="the disk filled up while sh was at work") as caught:
        list(Children().run(["sh", "-c", script], environ=os.environ))
    assert caught.value.exit_code == 1
    assert max(map(len, caught.value.detail)) == 500


def test_closing_ends_the_child_and_its_children(tmp_path: Path) -> None:
    """`close` from another thread ends the whole group, and nothing starts afterwards."""
    children, pids = Children(), tmp_path / "pids"
    said = children.run(["sh", "-c", FAMILY, "sh", pids], environ=os.environ)
    assert next(line for line in said if line) == "started"
    threading.Thread(target=children.close).start()
    with pytest.raises((CancelledError, UnavailableError)):
        list(said)
    for pid in map(int, pids.read_text().split()):
        until(lambda pid=pid: not alive(pid), f"process {pid} ends")
    with pytest.raises(CancelledError):
        list(children.run(["true"], environ=os.environ))


def test_an_abandoned_child_is_ended(tmp_path: Path) -> None:
    """Who stops reading (Ctrl-C does that) ends the child."""
    pids = tmp_path / "pids"
    said = Children().run(["sh", "-c", FAMILY, "sh", pids], environ=os.environ)
    assert next(line for line in said if line) == "started"
    said.close()
    for pid in map(int, pids.read_text().split()):
        until(lambda pid=pid: not alive(pid), f"process {pid} ends")


def test_no_child_outlives_a_todoctl_that_was_killed(tmp_path: Path) -> None:
    """SIGKILL leaves us no last word; the guard's closed pipe ends the build."""
    pids = tmp_path / "pids"
    program = (
        "import os, sys\n"
        "from todoctl.adapters.tools.children import Children\n"
        f"list(Children().run(['sh', '-c', {FAMILY!r}, 'sh', {str(pids)!r}], environ=os.environ))\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program])
    until(lambda: pids.exists() and len(pids.read_text().split()) == 2, "the family is there")
    family = [int(pid) for pid in pids.read_text().split()]
    assert all(alive(pid) for pid in family)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    for pid in family:
        until(lambda pid=pid: not alive(pid), f"process {pid} ends")
