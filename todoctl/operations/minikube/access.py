"""Ports of this machine that lead to the page after `up` has ended: a process that holds them, known by its mark."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from todoctl.adapters.processes import identity
from todoctl.errors import TodoctlError, UnhealthyError
from todoctl.settings import CONFIG_VARIABLE, Settings

_LINES = 3


def command(settings: Settings) -> list[str]:
    """What holds the ports of an environment: its own command, without anybody at it."""
    return [sys.executable, "-m", "todoctl", "-e", settings.name, "open", "--forward", "--no-browser", "-o", "json"]


def is_held(settings: Settings) -> bool:
    """Whether a process holds them."""
    return bool(identity.survivors(settings.state))


def hold(
    settings: Settings, environ: Mapping[str, str], words: Sequence[str], *, seconds: float
) -> subprocess.Popen[bytes]:
    """Have a process hold the ports in the place of one that did; gives it when they are there.

    Raises:
        UnhealthyError: it ended, for a port that is taken, say; the detail has what it said.
        TodoctlError: it said nothing in time.
    """
    release(settings)
    config = Path(settings.origins.get(f"environments.{settings.name}", ""))
    marks = {identity.INSTANCE_VARIABLE: str(settings.state)}
    marks |= {CONFIG_VARIABLE: str(config.resolve())} if config.is_file() else {}
    settings.state.mkdir(parents=True, exist_ok=True)
    told, log = settings.state / "open.json", settings.state / "open.log"
    with told.open("wb") as out, log.open("wb") as err:
        process = subprocess.Popen(
            [*words], env={**environ, **marks}, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
        )
    if not _said(process, told, seconds):
        process.terminate()
        process.wait()
        raise TodoctlError(f"no ports lead to the page after {seconds:.0f} s", hint=_by_hand(settings))
    if process.poll() is not None:
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
        why = next((line.lstrip("✗ ") for line in lines if line.startswith("✗")), "what holds them has ended")
        raise UnhealthyError(why, detail=tuple(lines[-_LINES:]), hint=_by_hand(settings))
    return process


def release(settings: Settings) -> bool:
    """End the process that holds the ports; gives whether there was one."""
    holding = identity.survivors(settings.state)
    identity.end(holding, seconds=5)
    return bool(holding)


def _said(process: subprocess.Popen[bytes], told: Path, seconds: float) -> bool:
    """Whether it told of its ports, or ended, in time."""
    for _ in range(max(1, int(seconds * 10))):
        if told.stat().st_size:
            return True
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=0.1)
            return True
    return False


def _by_hand(settings: Settings) -> str:
    return f"todoctl -e {settings.name} open --forward"
