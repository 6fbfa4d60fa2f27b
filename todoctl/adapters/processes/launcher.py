"""The program that starts each part: waits for what it needs, drops the user, dies with its parent, then becomes it.

Run as `python -I -S launcher.py SPEC.json [PARENT]`; it imports the standard library only, so that it costs little.
PARENT is the pid of who starts it: one that was killed before this process could ask has another in its place by then.
The spec is {"name", "argv", "env", "cwd", "needs": [probe], "user": uid | null, "parent_death_signal": int,
"identity": path, "marker": path}; a probe is "tcp:HOST:PORT", "http:HOST:PORT/PATH" (2xx), "postgres:HOST:PORT" (accepts
sessions), "file:PATH" or "unlocked:FOLDER" (no PostgreSQL works in the data folder).
"""

from __future__ import annotations

import ctypes
import http.client
import json
import os
import select
import signal
import socket
import struct
import sys
import time
from pathlib import Path

_LONGEST_WAIT = 2.0  # seconds between two looks at a dependency, at most
_LONGEST_BACKOFF = 5.0  # seconds before starting a part again that keeps dying, at most
_STABLE = 20.0  # seconds after which a start no longer counts as one of a row
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def main(spec_path: str, parent: int) -> None:
    """Start the part that the spec describes, in the place of this process; it lives no longer than `parent`."""
    spec = json.loads(Path(spec_path).read_text(encoding="utf-8"))
    _die_with(parent, signal.SIGTERM)
    _back_off(Path(spec["identity"]))
    for probe in spec["needs"]:
        _wait(spec["name"], probe)
    _become(spec, parent)


def _back_off(identity: Path) -> None:
    """Wait longer the more often the part died soon after its start; supervisord itself would give up."""
    try:
        last = json.loads(identity.read_text(encoding="utf-8"))
        row = int(last["row"]) + 1 if time.time() - float(last["started"]) < _STABLE else 0
    except (OSError, ValueError, TypeError, KeyError):
        return
    os.environ["_TODOCTL_ROW"] = str(row)
    time.sleep(pause_after(row))


def pause_after(row: int) -> float:
    """Seconds to wait after so many early deaths in a row: none after the first, then doubling up to the longest."""
    return min(_LONGEST_BACKOFF, 0.1 * 2 ** min(row, 10)) if row > 1 else 0.0


def _wait(name: str, probe: str) -> None:
    pause, said = 0.05, 0.0
    while not _answers(probe):
        if time.monotonic() - said > 5:
            said = time.monotonic()
            print(json.dumps({"level": "info", "service": name, "message": f"waiting for {probe}"}), flush=True)
        time.sleep(pause)
        pause = min(_LONGEST_WAIT, pause * 1.3)


def _answers(probe: str) -> bool:
    kind, _, target = probe.partition(":")
    if kind == "file":
        return Path(target).exists()
    if kind == "unlocked":
        return _unlocked(Path(target))
    address, _, path = target.partition("/")
    host, _, port = address.rpartition(":")
    try:
        if kind == "http":
            connection = http.client.HTTPConnection(host, int(port), timeout=1)
            connection.request("GET", f"/{path}")
            return 200 <= connection.getresponse().status < 300
        with socket.create_connection((host, int(port)), timeout=1) as link:
            return kind != "postgres" or _accepts_sessions(link)
    except (OSError, http.client.HTTPException):
        return False


def _accepts_sessions(link: socket.socket) -> bool:
    """Whether PostgreSQL asks for authentication; while it starts it answers with an error instead.

    Source: https://www.postgresql.org/docs/current/protocol-message-formats.html
    """
    body = struct.pack("!i", 196608) + b"user\0todo_probe\0\0"
    link.sendall(struct.pack("!i", len(body) + 4) + body)
    answer = link.recv(1)
    return answer == b"R"


def _unlocked(data: Path) -> bool:
    """Whether no PostgreSQL works in the data folder; the lock that a killed one left is taken away then.

    PostgreSQL itself takes a zombie, which a container's first process may never reap, or a stranger that got the same
    number, for the old server and refuses to start. Its server and all its backends work in the data folder.
    """
    proc = Path("/proc")
    if not proc.is_dir():
        return True
    if any(_is_postgres_in(process, data.resolve()) for process in proc.iterdir() if process.name.isdigit()):
        return False
    (data / "postmaster.pid").unlink(missing_ok=True)
    return True


def _is_postgres_in(process: Path, data: Path) -> bool:
    try:
        # A zombie has no folder any more.
        return (process / "comm").read_text().startswith("postgres") and (process / "cwd").resolve(strict=True) == data
    except OSError:
        return False


def _become(spec: dict[str, object], parent: int) -> None:
    os.chdir(str(spec["cwd"]))
    _record(Path(str(spec["identity"])), str(spec["name"]))
    if spec["user"] is not None:
        os.setgroups([])
        os.setgid(int(str(spec["user"])))
        os.setuid(int(str(spec["user"])))
    # Again after the user was dropped: changing the user clears it.
    _die_with(parent, int(str(spec["parent_death_signal"])))
    argv, env = spec["argv"], spec["env"]
    if not isinstance(argv, list) or not isinstance(env, dict):
        raise SystemExit(f"{spec['name']}: the spec is damaged")
    for deaf in (signal.SIGINT, signal.SIGQUIT, signal.SIGPIPE):
        # Python ignores broken pipes and a background shell interrupts; a part that inherited that could not be stopped.
        signal.signal(deaf, signal.SIG_DFL)
    os.execve(argv[0], argv, env)  # noqa: S606 - becoming the part is what a launcher does


def _die_with(parent: int, with_signal: int) -> None:
    """Have the kernel send the signal when the parent ends; end now when it has ended already."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, with_signal)
    if os.getppid() != parent or _nobody_reads():
        os.kill(os.getpid(), signal.SIGKILL)


def _nobody_reads() -> bool:
    """Whether the pipe to supervisord is broken: it was killed before this process could ask who its parent is."""
    looks = select.poll()
    looks.register(sys.stdout.fileno(), 0)
    return any(event & select.POLLERR for _, event in looks.poll(0))


def _record(identity: Path, name: str) -> None:
    """Say who this is, so that `up` can end what a kill -9 of supervisord left."""
    document = {
        "name": name,
        "pid": os.getpid(),
        "started": time.time(),
        "row": int(os.environ.get("_TODOCTL_ROW", "0")),
    }
    draft = identity.with_suffix(f".{os.getpid()}")
    draft.write_text(json.dumps(document), encoding="utf-8")
    draft.replace(identity)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else os.getppid())
