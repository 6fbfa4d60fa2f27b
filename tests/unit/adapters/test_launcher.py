"""The launcher as a real process: waiting, back-off, identity, user, and dying with its parent."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.program import until
from todoctl.adapters.processes import launcher

NOBODY = 65534
TELL = "import json, os; print(json.dumps([os.getpid(), dict(os.environ), os.getcwd()]))"
# A parent like supervisord: it starts the launcher, tells its pid, and lives until it is killed.
PARENT = "import subprocess, sys; print(subprocess.Popen(sys.argv[1:]).pid, flush=True); sys.stdin.read()"

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


class Bench:
    """Writes specs into a folder and runs the launcher with them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.identity = folder / "run" / "part.json"
        self.identity.parent.mkdir()

    def spec(self, **changes: Any) -> Path:
        """A spec file; by default the part tells its pid, environment and folder."""
        spec = {
            "name": "part",
            "argv": [sys.executable, "-I", "-S", "-c", TELL],
            "env": {"ONLY": "this"},
            "cwd": str(self.folder),
            "needs": [],
            "user": None,
            "parent_death_signal": int(signal.SIGTERM),
            "identity": str(self.identity),
        }
        path = self.folder / "part.json"
        path.write_text(json.dumps(spec | changes))
        return path

    def command(self, spec: Path) -> list[str]:
        return [sys.executable, "-I", "-S", str(launcher.__file__), str(spec)]

    def start(self, **changes: Any) -> subprocess.Popen[str]:
        """The launcher, started."""
        return subprocess.Popen(
            self.command(self.spec(**changes)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def run(self, **changes: Any) -> tuple[int, int, str, str]:
        """The launcher's pid, exit code, stdout and stderr."""
        with self.start(**changes) as process:
            out, err = process.communicate(timeout=30)
        return process.pid, process.returncode, out, err

    def row(self) -> int:
        """Early deaths in a row, as the identity has them."""
        return int(json.loads(self.identity.read_text())["row"])


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A launcher's surroundings."""
    return Bench(tmp_path)


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """A bound socket that does not listen yet."""
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        yield made


def test_it_becomes_the_part(bench: Bench) -> None:
    """Same process, the spec's environment and nothing else, in the spec's folder."""
    pid, code, out, err = bench.run()
    told = json.loads(out)
    assert (code, err) == (0, "")
    assert told[0] == pid
    # The interpreter itself adds its locale.
    assert {name: value for name, value in told[1].items() if name != "LC_CTYPE"} == {"ONLY": "this"}
    assert told[2] == str(bench.folder)


def test_it_writes_who_it_is(bench: Bench) -> None:
    """The identity has the part's name, its pid and when it started, whole, and nothing is left beside it."""
    before = time.time()
    pid, *_ = bench.run()
    identity = json.loads(bench.identity.read_text())
    assert (identity["name"], identity["pid"], identity["row"]) == ("part", pid, 0)
    assert before - 1 <= identity["started"] <= time.time()
    assert [path.name for path in bench.identity.parent.iterdir()] == ["part.json"]


def waits_for(bench: Bench, probe: str, satisfy: Callable[[], object]) -> None:
    """Check that the launcher says what it waits for, does not start the part, and does once `satisfy` was called."""
    with bench.start(needs=[probe]) as process:
        assert process.stdout is not None
        said = json.loads(process.stdout.readline())
        assert said == {"level": "info", "service": "part", "message": f"waiting for {probe}"}
        assert not bench.identity.exists()
        satisfy()
        assert json.loads(process.stdout.readline())[0] == process.pid


def test_it_waits_for_a_file(bench: Bench) -> None:
    """`file:PATH` is there when the file is."""
    waits_for(bench, f"file:{bench.folder / 'marker'}", (bench.folder / "marker").touch)


def test_it_waits_for_a_port(bench: Bench, listening: socket.socket) -> None:
    """`tcp:HOST:PORT` is there when the port takes connections; a bound port alone does not."""
    waits_for(bench, f"tcp:127.0.0.1:{listening.getsockname()[1]}", listening.listen)


def test_it_waits_for_a_good_answer(bench: Bench) -> None:
    """`http:HOST:PORT/PATH` is there when the path answers with 2xx; 503 is no answer, nor is another path's 200."""
    good = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(204 if good.is_set() and self.path == "/v1/healthz" else 503)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the base class's name
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        waits_for(bench, f"http:127.0.0.1:{server.server_port}/v1/healthz", good.set)
        server.shutdown()


@pytest.mark.parametrize("early", [b"E", b"", b"HTTP/1.1 400"], ids=["starting", "closed", "stranger"])
def test_it_waits_for_postgresql_to_accept_sessions(bench: Bench, listening: socket.socket, early: bytes) -> None:
    """`postgres:HOST:PORT` is there when the server asks for authentication, not while it answers with an error."""
    answers = [early]
    listening.listen()

    def serve() -> None:
        while True:
            try:
                link, _ = listening.accept()
            except OSError:
                return
            with link:
                link.recv(1024)
                link.sendall(answers[-1])

    threading.Thread(target=serve, daemon=True).start()
    waits_for(bench, f"postgres:127.0.0.1:{listening.getsockname()[1]}", lambda: answers.append(b"R"))
    listening.shutdown(socket.SHUT_RDWR)


def test_it_waits_until_no_postgresql_works_in_the_folder(bench: Bench) -> None:
    """`unlocked:FOLDER` is there when the last server or backend is dead, a zombie too; its lock is taken away then."""
    data = bench.folder / "data"
    data.mkdir()
    (bench.folder / "postgres").symlink_to("/bin/sleep")
    backend = subprocess.Popen([str(bench.folder / "postgres"), "600"], cwd=data)
    (data / "postmaster.pid").write_text(f"{backend.pid}\n")
    try:
        until(lambda: psutil.Process(backend.pid).name() == "postgres", "the backend runs")
        # Nobody reaps it before the end of this test.
        waits_for(bench, f"unlocked:{data}", backend.kill)
        assert psutil.Process(backend.pid).status() == psutil.STATUS_ZOMBIE
        assert not (data / "postmaster.pid").exists()
    finally:
        backend.kill()
        backend.wait()


def test_a_postgresql_of_another_folder_is_not_waited_for(bench: Bench) -> None:
    """Another server, or another program in the folder, holds nothing back."""
    data = bench.folder / "data"
    data.mkdir()
    with subprocess.Popen(["/bin/sleep", "600"], cwd=data) as stranger:
        try:
            with bench.start(needs=[f"unlocked:{data}"]) as process:
                assert process.wait(30) == 0
        finally:
            stranger.kill()


def test_all_that_is_needed_is_waited_for(bench: Bench) -> None:
    """Several probes must all answer."""
    first, second = bench.folder / "first", bench.folder / "second"
    first.touch()
    waits_for(bench, f"file:{second}", second.touch)
    with bench.start(needs=[f"file:{first}", f"file:{second}"]) as process:
        assert process.wait(30) == 0


def test_early_deaths_are_counted_in_a_row(bench: Bench) -> None:
    """Each start soon after the last one counts; a start long after it begins anew."""
    rows = []
    for _ in range(3):
        bench.run()
        rows.append(bench.row())
    assert rows == [0, 1, 2]
    bench.identity.write_text(json.dumps({"row": 2, "started": time.time() - 60}))
    bench.run()
    assert bench.row() == 0


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"row": null, "started": 0}'])
def test_an_identity_that_cannot_be_read_counts_nothing(bench: Bench, content: str) -> None:
    """A damaged identity is written anew."""
    bench.identity.write_text(content)
    bench.run()
    assert bench.row() == 0


def test_a_part_that_keeps_dying_is_started_ever_more_slowly() -> None:
    """The pause doubles and has a longest, also after days of dying."""
    pauses = [launcher.pause_after(row) for row in range(8)]
    assert pauses == pytest.approx([0, 0, 0.4, 0.8, 1.6, 3.2, 5, 5])
    assert launcher.pause_after(100_000) == 5


def test_the_pause_is_kept(bench: Bench) -> None:
    """A third start in a row comes no sooner than its pause."""
    bench.identity.write_text(json.dumps({"row": 2, "started": time.time()}))
    since = time.monotonic()
    bench.run()
    assert bench.row() == 3
    assert time.monotonic() - since >= launcher.pause_after(3)


@pytest.mark.parametrize(
    ("changes", "user"),
    [
        ({}, None),
        ({"needs": ["file:/never/there"]}, None),
        pytest.param({"user": NOBODY, "parent_death_signal": int(signal.SIGINT), "cwd": "/"}, NOBODY, marks=as_root),
    ],
    ids=["running", "waiting", "as another user"],
)
def test_it_dies_with_its_parent(bench: Bench, changes: dict[str, Any], user: int | None) -> None:
    """When the parent is killed with SIGKILL the part ends too: running, still waiting, or as another user."""
    spec = bench.spec(argv=["/bin/sleep", "600"], **changes)
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, *bench.command(spec)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        if "needs" in changes:
            assert "waiting for" in parent.stdout.readline()
        else:
            until(lambda: child.name() == "sleep", "the launcher became the part")
            assert user is None or child.uids().real == user
        parent.kill()
        until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE, "the part is gone")


def test_it_starts_nothing_for_a_parent_that_was_gone_before_it_could_ask(bench: Bench) -> None:
    """A deploy killed between starting the launcher and its first step leaves nothing on the port."""
    command = bench.command(bench.spec())
    with subprocess.Popen(["/bin/true"]) as gone:
        gone.wait()
    done = subprocess.run([*command, str(gone.pid)], capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "")
    assert not bench.identity.exists()
    lives = subprocess.run([*command, str(os.getpid())], capture_output=True, text=True, check=False, timeout=30)
    assert lives.returncode == 0, lives.stderr
    assert bench.identity.exists()


@as_root
def test_it_drops_the_user(bench: Bench) -> None:
    """As another user the part has that user's ids and no other group."""
    _, code, out, err = bench.run(
        argv=["/bin/sh", "-c", "id -u; id -g; id -G"], user=NOBODY, cwd="/", env={"PATH": os.defpath}
    )
    assert (code, err) == (0, "")
    assert set(out.split()) == {str(NOBODY)}


def test_it_hears_the_signals_that_its_parent_ignores(bench: Bench) -> None:
    """A part started by a program that ignores interrupts and broken pipes is not deaf to them."""
    show = "import signal; print([signal.getsignal(s) == signal.SIG_IGN for s in (signal.SIGINT, signal.SIGQUIT)])"
    spec = bench.spec(argv=[sys.executable, "-c", show])
    deaf = "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN); os.execv(sys.argv[1], sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", deaf, *bench.command(spec)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "[False, False]\n"), done.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "JSONDecodeError"),
        ("[]", "TypeError"),
        ("{}", "KeyError"),
    ],
)
def test_a_spec_that_is_none_ends_it(bench: Bench, text: str, said: str) -> None:
    """Without a spec nothing is started and the log says why."""
    path = bench.spec()
    path.write_text(text)
    ended = subprocess.run(bench.command(path), capture_output=True, text=True, check=False, timeout=30)
    assert ended.returncode == 1
    assert said in ended.stderr


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"argv": "sleep 1"}, "part: the spec is damaged"),
        ({"env": []}, "part: the spec is damaged"),
        ({"argv": ["/no/such/program"]}, "FileNotFoundError"),
        ({"cwd": "/no/such/folder"}, "FileNotFoundError"),
    ],
)
def test_a_part_that_cannot_be_started_says_why(bench: Bench, changes: dict[str, Any], said: str) -> None:
    """A program or folder that is missing ends the launcher with the reason."""
    _, code, out, err = bench.run(**changes)
    assert (code, out) == (1, "")
    assert said in err
