"""supervisord: its configuration, its start, and its control over a Unix socket."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

from todoctl.core.parts import Part
from todoctl.core.site import Folders
from todoctl.errors import TodoctlError

_SOCKET_LIMIT = 100  # bytes; the kernel takes 107 (Linux) or 103 (macOS)
_RUNNING = {"RUNNING", "STARTING", "STOPPING", "BACKOFF"}


class SupervisorError(TodoctlError):
    """supervisord refused or could not be reached."""


@dataclass(frozen=True)
class Process:
    """What supervisord knows of one part."""

    name: str
    state: str
    pid: int | None
    started_at: float | None

    @property
    def is_running(self) -> bool:
        """Whether it runs or is about to."""
        return self.state in _RUNNING


def socket_path(folders: Folders) -> Path:
    """The control socket: in the environment's folder where the path is short enough, else in the temporary folder."""
    path = folders.run / "supervisor.sock"
    if len(os.fsencode(path)) < _SOCKET_LIMIT:
        return path
    import hashlib

    digest = hashlib.sha256(os.fsencode(folders.root)).hexdigest()[:16]
    return Path(f"/tmp/todoctl-{os.getuid()}-{digest}.sock")  # noqa: S108 - the name is ours and the mode 0700


def render_config(folders: Folders, parts: Iterable[Part]) -> str:
    """supervisord.conf: every part starts through the launcher, on demand, and again whenever it ends."""
    lines = [
        "[unix_http_server]",
        f"file={_within(folders, socket_path(folders))}",
        "chmod=0700",
        "[supervisord]",
        f"logfile={_within(folders, folders.logs / 'supervisord.log')}",
        "logfile_maxbytes=5MB",
        "logfile_backups=1",
        f"pidfile={_within(folders, folders.run / 'supervisord.pid')}",
        f"childlogdir={_within(folders, folders.logs)}",
        "umask=022",
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
    ]
    for part in parts:
        lines += _program(folders, part)
    return "\n".join(lines) + "\n"


def _program(folders: Folders, part: Part) -> list[str]:
    launcher = Path(__file__).with_name("launcher.py")
    command = [sys.executable, "-I", "-S", str(launcher), _within(folders, spec_path(folders, part.name))]
    return [
        f"[program:{part.name}]",
        f"command={shlex.join(command).replace('%', '%%')}",
        "autostart=false",
        "autorestart=true",
        # The launcher counts early deaths and waits; supervisord's own way ends in FATAL.
        "startsecs=0",
        f"stopsignal={part.stop_signal.name.removeprefix('SIG')}",
        f"stopwaitsecs={part.stop_seconds}",
        "redirect_stderr=true",
        f"stdout_logfile={_within(folders, folders.logs / f'{part.name}.log')}",
        "stdout_logfile_maxbytes=10MB",
        "stdout_logfile_backups=2",
    ]


def spec_path(folders: Folders, name: str) -> Path:
    """The launcher's spec of a part."""
    return folders.config / "parts" / f"{name}.json"


def start_daemon(folders: Folders, config: Path, environ: Mapping[str, str]) -> None:
    """Start supervisord in the background with `environ` and nothing else of ours."""
    command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(config)]
    done = subprocess.run(command, env=dict(environ), cwd=folders.root, capture_output=True, text=True, check=False)
    if done.returncode:
        detail = tuple((done.stderr or done.stdout).splitlines()[-5:])
        raise SupervisorError("supervisord did not start", detail=detail, hint="todoctl doctor")


class Supervisor:
    """A running supervisord."""

    def __init__(self, proxy: Any) -> None:
        self._rpc = proxy.supervisor

    def is_alive(self) -> bool:
        """Whether it answers."""
        try:
            return bool(self._rpc.getState()["statename"] == "RUNNING")
        except (OSError, HTTPException, xmlrpc.client.Error):
            return False

    def pid(self) -> int:
        """Its process id."""
        with _translated("tell its pid"):
            return int(self._rpc.getPID())

    def processes(self) -> dict[str, Process]:
        """Every part that it knows."""
        with _translated("list processes"):
            rows = self._rpc.getAllProcessInfo()
        return {
            row["name"]: Process(row["name"], row["statename"], row["pid"] or None, float(row["start"]) or None)
            for row in rows
        }

    def start(self, name: str) -> None:
        """Start a part; one that runs already stays as it is."""
        with _translated(f"start {name}", harmless=(60,)):  # ALREADY_STARTED
            self._rpc.startProcess(name, False)

    def stop(self, names: Iterable[str]) -> Iterator[str]:
        """Ask the parts to stop, all at once; yields each when it has. What does not stop in time is killed."""
        waiting = set(names)
        for name in sorted(waiting):
            with _translated(f"stop {name}", harmless=(70,)):  # NOT_RUNNING
                self._rpc.stopProcess(name, False)
        while waiting:
            processes = self.processes()
            for name in sorted(waiting):
                if name not in processes or not processes[name].is_running:
                    waiting.discard(name)
                    yield name
            time.sleep(0.03)

    def reload(self, *, replaces: bool = True) -> None:
        """Take over a changed configuration: new parts are added, changed ones stopped and replaced.

        Without `replaces` a changed one runs on as it is: what starts it (another place of todoctl) is no reason to stop it.
        """
        with _translated("reload its configuration"):
            [[added, changed, removed]] = self._rpc.reloadConfig()
            changed = changed if replaces else []
            for group in (*changed, *removed):
                self._rpc.stopProcessGroup(group)
                self._rpc.removeProcessGroup(group)
            for group in (*added, *changed):
                self._rpc.addProcessGroup(group)

    def shutdown(self) -> None:
        """Stop everything that still runs, and supervisord itself."""
        with _translated("shut down"):
            self._rpc.shutdown()


@contextmanager
def connect(folders: Folders) -> Iterator[Supervisor]:
    """A connection to the environment's supervisord, whether it runs or not."""
    from supervisor.xmlrpc import SupervisorTransport

    transport = SupervisorTransport(serverurl=f"unix://{socket_path(folders)}")
    with xmlrpc.client.ServerProxy("http://localhost", transport=transport) as proxy:
        yield Supervisor(proxy)


@contextmanager
def _translated(what: str, harmless: tuple[int, ...] = ()) -> Iterator[None]:
    try:
        yield
    except xmlrpc.client.Fault as error:
        if error.faultCode not in harmless:
            raise SupervisorError(
                f"supervisord refused to {what}: {error.faultString}", hint="todoctl doctor"
            ) from error
    except (OSError, HTTPException, xmlrpc.client.ProtocolError) as error:
        raise SupervisorError(f"supervisord did not answer when asked to {what}: {error}", hint="todoctl up") from error


def _within(folders: Folders, path: Path) -> str:
    """The path as seen from the environment's folder, where supervisord works.

    Its reader gives `%`, quotes and semicolons a meaning, some of them twice: the user's folder stays out of the file.
    """
    return str(path.relative_to(folders.root) if path.is_relative_to(folders.root) else path)
