"""What a program found on this machine is: the answer is remembered for as long as its file does not change."""

from __future__ import annotations

import json
import mmap
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from todoctl.adapters.tools.site import Site

_SEEN = "seen.json"
_KEPT = 64
_VERSION = re.compile(r"\d+\.\d+\.\d+(?:-[\w.]+)?")


def which(site: Site, program: str) -> Path | None:
    """The first program of this name on PATH, as an absolute path."""
    found = shutil.which(program, path=site.environ.get("PATH", ""))
    return Path(found).absolute() if found else None


def java_version(site: Site, java: Path) -> str:
    """The version of a `java`, empty when it does not work."""
    said = remembered(site, java, "java", lambda: run(java, "-version", site=site))
    match = re.search(r'version "(\d[^"]*)"', said)
    return match[1] if match else ""


def go_version(site: Site, go: Path) -> str:
    """The version of a `go` without a toolchain download, empty when it does not work."""
    match = re.search(r"\bgo(\d+\.\d+(?:\.\d+)?)", run(go, "env", "GOVERSION", site=site, GOTOOLCHAIN="local"))
    return match[1] if match else ""


def daprd_version(site: Site, daprd: Path) -> str:
    """The version that a `daprd` says, empty when it says none."""
    match = _VERSION.search(remembered(site, daprd, "version", lambda: run(daprd, "--version", site=site)))
    return match[0] if match else ""


def said(site: Site, program: Path, *arguments: str) -> str:
    """What a program says to these arguments, empty when it can't be run."""
    return remembered(site, program, " ".join(arguments), lambda: run(program, *arguments, site=site))


def contains(site: Site, program: Path, marks: tuple[str, ...]) -> tuple[str, ...]:
    """Which of `marks` (names of Go packages) are compiled into a program."""
    answer = remembered(site, program, "\n".join(marks), lambda: "\n".join(_scan(program, marks)))
    return tuple(answer.split("\n")) if answer else ()


def built_version(site: Site, program: Path) -> str:
    """The Dapr version in a Go program's build information, for programs without `--version`."""
    return remembered(site, program, "buildinfo", lambda: _linked_version(program))


def run(program: Path, *arguments: str, site: Site, **variables: str) -> str:
    """What a program says within ten seconds, on both streams; empty when it can't be run."""
    try:
        done = subprocess.run(
            [program, *arguments],
            env={**site.environ, **variables},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout


def remembered(site: Site, program: Path, question: str, ask: Callable[[], str]) -> str:
    """The answer to a question about a file, asked once for as long as its size and time stay the same."""
    try:
        status = program.stat()
    except OSError:
        return ""
    key = f"{program.resolve()}|{status.st_size}|{status.st_mtime_ns}|{question}"
    seen = _load(site)
    if key not in seen:
        if not (answer := ask()):
            return ""
        seen[key] = answer
        _save(site, seen)
    return seen[key]


def _load(site: Site) -> dict[str, str]:
    try:
        seen = json.loads((site.cache / _SEEN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(key): str(value) for key, value in seen.items()} if isinstance(seen, dict) else {}


def _save(site: Site, seen: dict[str, str]) -> None:
    # Only a memory: where it can't be written, the question is asked again next time.
    with suppress(OSError):
        if not site.cache.is_dir():
            return
        handle, name = tempfile.mkstemp(prefix="tmp-seen-", dir=site.cache)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(dict(list(seen.items())[-_KEPT:]), file)
        Path(name).chmod(0o644)
        Path(name).replace(site.cache / _SEEN)


def _scan(program: Path, marks: tuple[str, ...]) -> list[str]:
    with program.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return [mark for mark in marks if content.find(mark.encode()) >= 0]


def _linked_version(program: Path) -> str:
    with program.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        match = re.search(rb"buildinfo\.version=v?(\d+\.\d+\.\d+[\w.-]*)", content)
        return match[1].decode() if match else ""
