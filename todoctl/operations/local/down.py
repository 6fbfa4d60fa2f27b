"""Stops the environment: consumers before what they read from, nothing left running, data removed when asked."""

from __future__ import annotations

from collections.abc import Iterator

from todoctl.adapters.processes import identity, supervisor
from todoctl.core.site import Folders
from todoctl.errors import UnhealthyError
from todoctl.operations.lifecycle import Stopped
from todoctl.operations.local import state
from todoctl.settings import Settings

_INFRASTRUCTURE = {"postgres", "kafka", "scheduler"}


def bring_down(settings: Settings, *, purge: bool) -> Iterator[Stopped]:
    """Stop everything of the environment; yields what was stopped.

    Raises:
        UnhealthyError: a process could not be ended.
    """
    folders = Folders(settings.state)
    if folders.run.is_dir():
        with supervisor.connect(folders) as control:
            if control.is_alive():
                yield from _stop_waves(control)
                _shut_down(control)
    left = identity.survivors(settings.state)
    names = [f"{process.pid}" for process in left]
    stubborn = identity.end(left, seconds=3)
    if names:
        yield Stopped(f"{len(names)} processes without a supervisor", f"ended (pid {', '.join(names)})")
    if stubborn:
        raise UnhealthyError(
            f"processes that do not end: {', '.join(identity.name_of(process.pid) for process in stubborn)}",
            hint="look at them with ps, end them, then todoctl down",
        )
    supervisor.socket_path(folders).unlink(missing_ok=True)
    if purge and state.forget(settings):
        yield Stopped("data", f"removed {settings.state}")


def _stop_waves(control: supervisor.Supervisor) -> Iterator[Stopped]:
    """Services and sidecars first, all at once; then what they use."""
    running = {name for name, process in control.processes().items() if process.is_running}
    for wave in (running - _INFRASTRUCTURE, running & _INFRASTRUCTURE):
        yield from (Stopped(name, "stopped") for name in control.stop(wave))


def _shut_down(control: supervisor.Supervisor) -> None:
    pid = control.pid()
    control.shutdown()
    identity.wait_gone(pid, seconds=5)
