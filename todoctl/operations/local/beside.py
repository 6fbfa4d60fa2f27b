"""A service's next version beside the one that runs: it proves itself, and takes the requests during the change."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from todoctl.adapters import sidecar
from todoctl.adapters.processes import identity, launcher, supervisor
from todoctl.core.diagnosis import likely_fix
from todoctl.core.ports import LOOPBACK
from todoctl.errors import UnhealthyError, WaitTimeoutError
from todoctl.operations.local import readiness
from todoctl.operations.local.assembly import write_if_changed
from todoctl.operations.local.up import Up
from todoctl.operations.steps import Tell

_STABLE = 0.5  # seconds that a process which listens must go on living


@contextmanager
def next_version(up: Up, name: str, tell: Tell) -> Iterator[None]:
    """The service's next version runs for the length of the block.

    It listens on the service's own port too, so that nobody meets a closed door while the one before is replaced. With
    open sockets that would split a user's connections between two processes: such a service proves itself on another port.

    Raises:
        UnhealthyError: it ended by itself; with the end of its log.
        WaitTimeoutError: it did not get ready in time.
    """
    shares = up.values.services[name].sockets_for is None
    port = up.assembly.parts[name].port if shares else _free_port()
    process = _start(up, name, port)
    try:
        _wait(up, name, process, port, tell)
        yield
    finally:
        _end(process, up.assembly.parts[name].stop_seconds)


def _start(up: Up, name: str, port: int) -> subprocess.Popen[bytes]:
    folders = up.state.folders
    spec = up.assembly.spec(name)
    spec |= {"name": f"{name}-next", "identity": str(folders.run / f"{name}-next.json")}
    spec["env"] = {**spec["env"], "PORT": str(port)}
    Path(spec["identity"]).unlink(missing_ok=True)
    path = supervisor.spec_path(folders, f"{name}-next")
    write_if_changed(path, json.dumps(spec, indent=1), mode=0o600)
    # The launcher has the kernel end it with us: a killed deploy leaves no second process on the port.
    command = [sys.executable, "-I", "-S", str(Path(launcher.__file__)), str(path), str(os.getpid())]
    with (folders.logs / f"{name}-next.log").open("wb") as log:
        return subprocess.Popen(
            command, env=up.assembly.base_environ, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )


def _wait(up: Up, name: str, process: subprocess.Popen[bytes], port: int, tell: Tell) -> None:
    deadline, listens_since = time.monotonic() + up.seconds, None
    while True:
        lines = readiness.tail(up.state.folders, f"{name}-next")
        if process.poll() is not None:
            raise UnhealthyError(
                f"the new {name} ended with {process.returncode} before it was ready",
                detail=lines,
                hint=likely_fix(name, lines),
            )
        missing = _missing(process.pid, port, alone=port != up.assembly.parts[name].port)
        listens_since = None if missing else listens_since or time.monotonic()
        if listens_since and time.monotonic() - listens_since > _STABLE:
            return
        if time.monotonic() > deadline:
            raise WaitTimeoutError(
                f"the new {name} was not ready after {up.seconds:.0f} s: {missing}",
                detail=lines,
                hint=likely_fix(name, lines),
            )
        tell(f"the new one beside the old: {missing or 'listens'}")
        time.sleep(0.1)


def _missing(pid: int, port: int, *, alone: bool) -> str | None:
    """A service listens once it has started; on a shared port the one before might answer in its place."""
    if not identity.owns_port(pid, port):
        return f"does not listen on port {port} yet"
    return sidecar.answers(f"http://{LOOPBACK}:{port}/readyz") if alone else None


def _end(process: subprocess.Popen[bytes], seconds: float) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
