"""Who a process is: identities that launchers wrote, ports and their owners, and ending what was left behind."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path

import psutil

INSTANCE_VARIABLE = "TODOCTL_INSTANCE"  # set in every process of an environment: its folder


@dataclass(frozen=True)
class Usage:
    """What a running process takes: resident bytes with its children, and since when it runs (Unix time)."""

    pid: int
    memory_bytes: int
    started_at: float


def early_deaths(identity: Path) -> int:
    """How often in a row the part ended soon after its start, as its launcher counted."""
    try:
        return int(json.loads(identity.read_text(encoding="utf-8"))["row"])
    except (OSError, ValueError, TypeError, KeyError):
        return 0


def usage(pid: int) -> Usage | None:
    """What the process and its children take, or None when it is gone."""
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
        memory = 0
        for member in family:
            with contextlib.suppress(psutil.Error):
                memory += _own_memory(member)
        return Usage(pid, memory, process.create_time())
    except psutil.Error:
        return None


def _own_memory(process: psutil.Process) -> int:
    """Resident bytes without pages that PostgreSQL's processes share."""
    info = process.memory_info()
    return int(info.rss - getattr(info, "shared", 0) if process.name() == "postgres" else info.rss)


def listeners(ports: set[int]) -> dict[int, int | None]:
    """Port → pid that listens on it (None where the system does not tell), for the ports that anyone listens on."""
    found: dict[int, int | None] = {}
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:
        return {port: None for port in ports if not can_bind(port)}
    for connection in connections:
        if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port in ports:
            found[connection.laddr.port] = connection.pid or found.get(connection.laddr.port)
    return found


def can_bind(port: int) -> bool:
    """Whether the port is free on the loopback address."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def name_of(pid: int | None) -> str:
    """`name (pid N)` for a message."""
    if pid is None:
        return "another user's process"
    try:
        return f"{psutil.Process(pid).name()} (pid {pid})"
    except psutil.Error:
        return f"pid {pid}"


def owns_port(pid: int, port: int) -> bool:
    """Whether the process itself listens on the port; where the system does not tell, that somebody does."""
    try:
        connections = psutil.Process(pid).net_connections(kind="tcp")
    except psutil.AccessDenied:
        return not can_bind(port)
    except psutil.Error:
        return False
    return any(item.status == psutil.CONN_LISTEN and item.laddr.port == port for item in connections)


def accepts(port: int) -> bool:
    """Whether anyone takes connections on the loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def survivors(instance: Path) -> list[psutil.Process]:
    """Processes that still carry the environment's mark; children of PostgreSQL lose it and end with their parent."""
    found = []
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(INSTANCE_VARIABLE) == str(instance):
                found.append(process)
    return found


def lives(pid: int) -> bool:
    """Whether there is such a process."""
    return psutil.pid_exists(pid)


def wait_gone(pid: int, *, seconds: float) -> bool:
    """Whether the process is gone within the time."""
    try:
        psutil.Process(pid).wait(timeout=seconds)
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        return False
    return True


def end(processes: list[psutil.Process], *, seconds: float) -> list[psutil.Process]:
    """Ask the processes to end, kill those that have not after `seconds`; gives what is still there."""
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    return psutil.wait_procs(alive, timeout=2)[1]
