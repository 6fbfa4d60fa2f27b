"""Who runs this todoctl: person, machine, process; and whether another such process still runs."""

from __future__ import annotations

import getpass
import os
import socket
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Whoami:
    """A person, a machine, and a process with its start, which a process that gets the same pid later doesn't share."""

    user: str
    host: str
    pid: int
    started: str


def whoami() -> Whoami:
    """Who runs this process."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        # A container may run as a number without a name.
        user = f"uid {os.getuid()}"
    return Whoami(user, socket.gethostname(), os.getpid(), _started(os.getpid()))


def is_running(pid: int, started: str) -> bool:
    """Whether that process still runs on this machine; where the system tells no start, whether the pid is taken."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError, ValueError):
        return False
    except PermissionError:
        pass
    return _started(pid) == started


def _started(pid: int) -> str:
    """The process's start in ticks since the machine's start; empty where there is no /proc, or no such process.

    Source: https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html, field 22.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    # A zombie is no process that works.
    return "" if fields[0] == "Z" else fields[19]
