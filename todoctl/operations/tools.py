"""Finding and installing the programs that the local environment runs.

`find` looks only and is quick; `install` and `install_all` bring what is missing and yield how far they are.
"""

from __future__ import annotations

import errno
import queue
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from todoctl.adapters.tools import npm_package, store
from todoctl.adapters.tools.catalog import Spec, catalog
from todoctl.adapters.tools.children import CancelledError
from todoctl.adapters.tools.lock import ToolLock
from todoctl.adapters.tools.model import Absent, Progress, Step, Tool, UnavailableError
from todoctl.adapters.tools.pins import Pins, load
from todoctl.adapters.tools.site import Site
from todoctl.errors import MissingError, PartialError, TodoctlError, UsageError
from todoctl.operations.tool_progress import Clock, sentence, thin

# Tools that the platform uses where it can have them.
OPTIONAL = frozenset({npm_package.NAME})

__all__ = [
    "OPTIONAL",
    "Listed",
    "Progress",
    "Tool",
    "classpath",
    "find",
    "install",
    "install_all",
    "listing",
    "names",
    "sentence",
    "thin",
]


@dataclass(frozen=True)
class Listed:
    """One line of `tools list`: what is pinned, what was found, and what each source before it said."""

    name: str
    purpose: str
    pinned: str
    needed: bool
    tool: Tool | None
    looked: tuple[tuple[str, Absent], ...]
    broken: str = ""  # the entry in the cache that is not as it was installed, and how


def names(*, needed: bool = True) -> tuple[str, ...]:
    """The names of the tools; those the platform needs, or all."""
    return tuple(spec.name for spec in catalog(load()).values() if spec.needed or not needed)


def find(name: str, cache: Path, *, environ: Mapping[str, str], pins: Pins | None = None) -> Tool | None:
    """The tool, if it is on this machine; nothing is fetched, and files are compared by size and time."""
    site = Site(cache, environ, pins or load())
    return _look(_spec(name, site.pins), site).tool


def listing(cache: Path, *, environ: Mapping[str, str], verify: bool = False, pins: Pins | None = None) -> list[Listed]:
    """Every tool with where it was found and why; `verify` hashes the files in the cache."""
    site = Site(cache, environ, pins or load())
    return [_look(spec, site, verify=verify) for spec in catalog(site.pins).values()]


def classpath(kafka: Tool) -> tuple[Path, ...]:
    """The jars of an installed Kafka."""
    return tuple(sorted(kafka.path.glob("*.jar")))


def install(
    name: str, cache: Path, *, environ: Mapping[str, str], verify: bool = False, pins: Pins | None = None
) -> Iterator[Progress]:
    """Bring one tool if it is missing or broken; the last progress carries it.

    Raises:
        MissingError: no source can deliver it; the detail says what each one said, the hint how to bring it.
        TodoctlError: it can't be installed for another reason (disk, permission).
    """
    site = Site(cache, environ, pins or load())
    try:
        yield from _install(_spec(name, site.pins), site, verify=verify)
    finally:
        site.children.close()


def install_all(
    wanted: Iterable[str], cache: Path, *, environ: Mapping[str, str], verify: bool = False, pins: Pins | None = None
) -> Iterator[Progress]:
    """Bring several tools, independent ones at once; each one's end, with tool or error, is given as it comes.

    Raises:
        TodoctlError: one could not be brought; raised when the others have ended.
    """
    site = Site(cache, environ, pins or load())
    groups: dict[str, list[Spec]] = {}
    for spec in [_spec(name, site.pins) for name in dict.fromkeys(wanted)]:
        groups.setdefault(spec.group or spec.name, []).append(spec)
    inbox: queue.Queue[Progress | None] = queue.Queue()
    workers = [
        threading.Thread(target=_work, args=(specs, site, inbox, verify), daemon=True) for specs in groups.values()
    ]
    for worker in workers:
        worker.start()
    failures: list[Progress] = []
    try:
        running = len(workers)
        while running:
            news = inbox.get()
            if news is None:
                running -= 1
                continue
            failures += [news] if news.error else []
            yield news
    finally:
        site.children.close()
        for worker in workers:
            worker.join(timeout=10)
    _raise(failures)


def _work(specs: list[Spec], site: Site, inbox: queue.Queue[Progress | None], verify: bool) -> None:
    """Install a group's tools one after the other, sending news into the inbox and None at the end."""
    try:
        for spec in specs:
            started = time.monotonic()
            try:
                for news in _install(spec, site, verify=verify):
                    inbox.put(news)
            except TodoctlError as error:
                elapsed = time.monotonic() - started
                inbox.put(Progress(spec.name, "failed", error.message, None, elapsed, error=error))
    except CancelledError:
        pass
    finally:
        inbox.put(None)


def _raise(failures: list[Progress]) -> None:
    errors = [failure.error for failure in failures if failure.error]
    if len(errors) == 1:
        raise errors[0]
    if errors:
        lines = tuple(line for error in errors for line in (error.message, *(f"  {line}" for line in error.detail)))
        hint = "; ".join(dict.fromkeys(error.hint for error in errors if error.hint))
        kind = MissingError if all(isinstance(error, MissingError) for error in errors) else PartialError
        raise kind(f"{len(errors)} tools could not be installed", detail=lines, hint=hint)


def _spec(name: str, pins: Pins) -> Spec:
    tools = catalog(pins)
    if name not in tools:
        raise UsageError(f"no tool is called {name!r}; there are: {', '.join(tools)}", hint="todoctl tools list")
    return tools[name]


def _look(spec: Spec, site: Site, *, verify: bool = False) -> Listed:
    store.require_trust(site.cache)
    looked: list[tuple[str, Absent]] = []
    broken = ""
    for source in spec.sources:
        answer = source.look(site)
        problem = source.entry(site).problem(full=verify) if source.entry else ""
        if problem and isinstance(answer, Tool):
            answer = Absent(f"{source.name}: {problem}")
        if source.entry and source.entry(site).present and isinstance(answer, Absent):
            broken = broken or f"{source.entry(site).path}: {problem}"
        if isinstance(answer, Tool):
            return Listed(spec.name, spec.purpose, spec.pinned, spec.needed, answer, tuple(looked), broken)
        looked.append((source.name, answer))
    return Listed(spec.name, spec.purpose, spec.pinned, spec.needed, None, tuple(looked), broken)


def _install(spec: Spec, site: Site, *, verify: bool) -> Iterator[Progress]:
    clock = Clock(spec.name)
    if tool := _look(spec, site, verify=verify).tool:
        yield clock.end(tool)
        return
    store.prepare(site.cache)
    lock = ToolLock(site.cache, spec.group or spec.name, spec.name)
    for step in lock.wait(site):
        yield clock.at(step)
    try:
        # Whoever had the lock before us may have installed it.
        found = _look(spec, site, verify=verify).tool
        for step in () if found else _fetch(spec, site, clock):
            yield clock.at(step)
    finally:
        lock.release()
    found = found or _look(spec, site).tool
    if found is None:
        raise TodoctlError(f"{spec.name} was installed and is not usable", hint="todoctl tools list")
    yield clock.end(found)


def _fetch(spec: Spec, site: Site, clock: Clock) -> Iterator[Step]:
    """Try the sources that can fetch, best first, until one has delivered."""
    failed: list[str] = []
    for source in (source for source in spec.sources if source.fetch):
        clock.begin(source)
        try:
            yield from source.fetch(site) if source.fetch else ()
        except UnavailableError as error:
            failed += [f"{source.name}: {error.reason}", *(f"    {line}" for line in error.detail[-5:])]
            yield Step("next", f"{source.name}: {error.reason}")
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise store.disk_full(f"{spec.name} was installed into {site.cache}") from error
            raise TodoctlError(
                f"{spec.name} can't be installed into {site.cache}: {error}", hint="todoctl doctor"
            ) from error
        else:
            return
    raise _missing(spec, site, failed)


def _missing(spec: Spec, site: Site, failed: list[str]) -> MissingError:
    looked = [f"{name}: {answer.reason}" for name, answer in _look(spec, site).looked if not _fetches(spec, name)]
    bring = spec.bring.format(by_hand=site.by_hand)
    return MissingError(
        f"{spec.name} ({spec.pinned}) is not on this machine and can't be fetched",
        detail=(*looked, *failed),
        hint=f"with a network: todoctl tools install {spec.name}; without one: {bring}",
    )


def _fetches(spec: Spec, source: str) -> bool:
    return any(candidate.name == source and candidate.fetch for candidate in spec.sources)
