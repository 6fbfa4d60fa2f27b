"""Who runs this: a process is known by its pid and its start."""

from __future__ import annotations

import subprocess
import sys

from tests.program import until
from todoctl.adapters.whoami import is_running, whoami


def test_this_process_runs() -> None:
    """By its own account."""
    me = whoami()
    assert me.user
    assert me.host
    assert is_running(me.pid, me.started)


def test_another_start_is_another_process() -> None:
    """A pid is given again; and a number that is no pid is none."""
    me = whoami()
    assert not is_running(me.pid, "1")
    assert not is_running(2**40, "")


def test_a_process_that_ended_runs_no_more() -> None:
    """Also while nobody has asked for its exit code."""
    code = "from todoctl.adapters.whoami import whoami; me = whoami(); print(me.pid, me.started)"
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    pid, started = child.stdout.read().split()
    child.stdout.close()
    until(lambda: not is_running(int(pid), started), "the zombie counts as gone")
    child.wait()
    assert not is_running(int(pid), started)
