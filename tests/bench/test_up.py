"""How long a warm `up` takes, against the same programs started bare and in parallel."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.live.conftest import Platform, until


@pytest.fixture
def warm() -> Iterator[Platform]:
    """A platform that was up once and is down."""
    made = Platform(Path(tempfile.mkdtemp(prefix="todoctl-bench-", dir="/tmp")))
    try:
        made.must("up", seconds=1800)
        made.must("down")
        yield made
    finally:
        made.run("down", "--purge", "--yes")
        shutil.rmtree(made.home, ignore_errors=True)


def test_warm_up_against_bare_programs(warm: Platform) -> None:
    """A warm `up` takes at most 1.5 times what its parts need bare and in parallel, a second one 2 s, `down` 5 s."""
    ratios = []
    for _ in range(3):
        bare = _bare(warm)
        up, second, down = (_timed(warm, *line) for line in (("up", "--no-smoke"), ("up",), ("down",)))
        ratios.append(up / bare)
        print(
            f"\nbare {bare:.1f} s, up {up:.1f} s (ratio {up / bare:.2f}), second up {second:.1f} s, down {down:.1f} s"
        )
    assert sorted(ratios)[1] <= 1.5


def test_restart(warm: Platform) -> None:
    """`restart` of a service takes about as long as its own start and its sidecar's."""
    warm.must("up")
    print(
        "\nrestart", {name: round(_timed(warm, "restart", name), 1) for name in ("api", "recurring", "audit", "auth")}
    )


def _timed(platform: Platform, *arguments: str) -> float:
    since = time.perf_counter()
    platform.must(*arguments)
    return time.perf_counter() - since


def _bare(platform: Platform) -> float:
    """Seconds until every part's program, started as it is and as early as it can, answers."""
    specs = {path.stem: json.loads(path.read_text()) for path in (platform.home / "local" / "etc" / "parts").iterdir()}
    waiting = {name: [need.rpartition(":")[2] for need in spec["needs"]] for name, spec in specs.items()}
    since = time.perf_counter()
    started: dict[str, subprocess.Popen[bytes]] = {}
    try:
        while len(started) < len(specs):
            for name, ports in waiting.items():
                if name not in started and all(_accepts(int(port)) for port in ports):
                    started[name] = _start(specs[name])
        services = [name for name in specs if f"{name}-daprd" in specs]
        for name in services:
            until(60, lambda name=name: _answers(f"{platform.url(name)}/readyz"), name)  # type: ignore[misc]
        return time.perf_counter() - since
    finally:
        for name in sorted(started, key=lambda name: name in {"kafka", "postgres"}):
            started[name].send_signal(specs[name]["parent_death_signal"])
        for process in started.values():
            process.wait(20)


def _start(spec: dict[str, Any]) -> subprocess.Popen[bytes]:
    user = spec["user"]
    return subprocess.Popen(
        spec["argv"],
        env=spec["env"] | {"TODOCTL_INSTANCE": "bench"},
        cwd=spec["cwd"],
        user=user,
        group=user,
        extra_groups=[] if user is not None else None,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        process_group=0,
    )


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False, timeout=1).is_success
    except httpx.HTTPError:
        return False
