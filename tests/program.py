"""todoctl as its user runs it: a real process, with folders and an environment of its own."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

# Makes one package look as if it were not installed.
_WITHOUT = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {hidden!r} or name in {hidden!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
from todoctl.__main__ import main
main()
"""


@dataclass(frozen=True)
class Ended:
    """A process that has ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        assert self.out, f"no output, exit code {self.code}:\n{self.err}"
        return json.loads(self.out)


@dataclass(frozen=True)
class Program:
    """todoctl with a home, a cache and a working folder of its own; nothing of the caller's settings reaches it."""

    folder: Path
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    @property
    def work(self) -> Path:
        return self.folder / "work"

    @property
    def environ(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "XDG_CONFIG_HOME": str(self.folder / "config"),
            "TODOCTL_HOME": str(self.home),
            "TODOCTL_CACHE": str(self.cache),
            "TZ": "UTC",
            "LC_ALL": "C.UTF-8",
            "COLUMNS": "100",
            **self.variables,
        }

    def start(self, *arguments: str, **streams: Any) -> subprocess.Popen[str]:
        """The command, started; its output can be read."""
        return self._popen([sys.executable, "-m", "todoctl", *arguments], **streams)

    def run(self, *arguments: str, **streams: Any) -> Ended:
        """The command, ended."""
        return _end(self.start(*arguments, **streams))

    def inside(self, *arguments: str) -> Ended:
        """The command run within this process, for tables of many: the same entry, without a start of Python."""
        from typer.testing import CliRunner

        from todoctl.cli import app

        self.work.mkdir(exist_ok=True)
        unset = dict.fromkeys(("TODOCTL_ENVIRONMENT", "TODOCTL_CONFIG", "NO_COLOR"))
        with contextlib.chdir(self.work):
            result = CliRunner(env=unset | self.environ).invoke(
                app, arguments, prog_name="todoctl", catch_exceptions=False
            )
        return Ended(result.exit_code, result.stdout, result.stderr)

    def run_without(self, hidden: tuple[str, ...], *arguments: str) -> Ended:
        """The command where these packages are not installed, ended."""
        return self.run_python(_WITHOUT.format(hidden=hidden), *arguments)

    def run_python(self, code: str, *arguments: str) -> Ended:
        """Python code in the same surroundings, ended."""
        return _end(self._popen([sys.executable, "-c", code, *arguments]))

    def on_terminal(self, *command: str, answer: str = "") -> Ended:
        """A program with a terminal for all its streams, which gets `answer` typed in."""
        ours, theirs = pty.openpty()
        process = self._popen([*command], stdin=theirs, stdout=theirs, stderr=theirs)
        os.close(theirs)
        os.write(ours, answer.encode())
        shown = _all(ours)
        os.close(ours)
        return Ended(process.wait(30), shown, "")

    @contextmanager
    def asked(self, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], Callable[[], int]]]:
        """The command as it waits for agreement on a terminal, and how to agree."""
        ours, theirs = pty.openpty()
        try:
            with self.start(*arguments, stdin=theirs) as process:
                assert process.stderr is not None
                said = ""
                while not said.endswith("[y/N] "):
                    more = process.stderr.read(1)
                    assert more, said
                    said += more
                yield process, lambda: os.write(ours, b"y\n")
        finally:
            os.close(ours)
            os.close(theirs)

    def _popen(self, command: list[str], **streams: Any) -> subprocess.Popen[str]:
        self.work.mkdir(exist_ok=True)
        given: dict[str, Any] = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
        } | streams
        return subprocess.Popen(command, env=self.environ, cwd=self.work, **given)


def until(seen: Callable[[], Any], what: str, seconds: float = 15) -> Any:
    """What `seen` gives as soon as it is true; fails after a deadline with what it gave last."""
    deadline = time.monotonic() + seconds
    while not (found := seen()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}; seen last: {found!r}"
        select.select([], [], [], 0.02)
    return found


def _end(process: subprocess.Popen[str]) -> Ended:
    with process:
        out, err = process.communicate(timeout=60)
    return Ended(process.returncode, out or "", err or "")


def _all(descriptor: int) -> str:
    """Everything until the other side is closed, which Linux tells with an error."""
    chunks: list[bytes] = []
    while True:
        try:
            chunk = os.read(descriptor, 65536)
        except OSError:
            chunk = b""
        if not chunk:
            return b"".join(chunks).decode()
        chunks.append(chunk)
