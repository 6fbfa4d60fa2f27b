"""Kafka's jars: each one in kafka.lock, fetched by jgo and held to its hash."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from todoctl.adapters.tools import store
from todoctl.adapters.tools.model import Absent, Step, Tool, UnavailableError
from todoctl.adapters.tools.pins import Pins
from todoctl.adapters.tools.site import Site

_AT_ONCE = 6
_TRIES = 2


@dataclass(frozen=True)
class Jar:
    """One line of the lock file."""

    coordinate: str  # group:artifact:version
    sha256: str
    size: int

    @property
    def name(self) -> str:
        """The file's name."""
        _, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}.jar"

    @property
    def repository_path(self) -> Path:
        """Where a Maven repository has the file."""
        group, artifact, version = self.coordinate.split(":")
        return Path(*group.split("."), artifact, version, self.name)


def lock_file(pins: Pins) -> Path:
    """The file that lists every jar."""
    return Path(__file__).parent / pins.kafka.lock


def locked(pins: Pins) -> tuple[Jar, ...]:
    """The jars of the lock file."""
    lines = (
        line.split() for line in lock_file(pins).read_text(encoding="utf-8").splitlines() if not line.startswith("#")
    )
    return tuple(Jar(coordinate, digest, int(size)) for coordinate, digest, size in lines)


def entry(site: Site) -> store.Entry:
    """Where the jars lie in the cache: one folder per version and content of the lock file."""
    digest = hashlib.sha256(lock_file(site.pins).read_bytes()).hexdigest()[:8]
    return store.entry(site.cache, "kafka", f"{site.pins.kafka.version}-{digest}")


def look(site: Site) -> Tool | Absent:
    """The folder of jars, when all of them are there."""
    place = entry(site)
    if problem := place.problem():
        return Absent(f"jars of Kafka {site.pins.kafka.version}: {problem}")
    why = f"{len(locked(site.pins))} jars, hashes as in kafka.lock"
    return Tool("kafka", site.pins.kafka.version, "maven", place.path, why)


def fetch(site: Site) -> Iterator[Step]:
    """Bring the jars; good ones of a broken entry are kept.

    Raises:
        UnavailableError: one can't be had; the message names it.
    """
    store.need_space(site.cache, site.pins.kafka.mib, "Kafka")
    jars = locked(site.pins)
    kept = entry(site).sound_files()
    with store.staging(site.cache, "kafka") as folder:
        made = folder / "made"
        made.mkdir()
        for jar in jars:
            if jar.name in kept:
                shutil.copyfile(entry(site).path / jar.name, made / jar.name)
        missing = [jar for jar in jars if jar.name not in kept]
        yield Step("download", f"{len(missing)} jars of Kafka {site.pins.kafka.version}", 0.0)
        yield from _fetch_all(site, missing, folder)
        store.commit(made, entry(site))


def maven(repository: Path, mirrors: Mapping[str, str]) -> Any:
    """A jgo context that downloads into `repository`, from mirrors (ours, the user's) before the public repository."""
    from jgo.config import GlobalSettings
    from jgo.maven import MavenContext, PythonResolver

    context = MavenContext(resolver=PythonResolver(), repo_cache=repository)
    context.remote_repos = {**mirrors, **GlobalSettings.load().repositories, **context.remote_repos}
    return context


def _fetch_all(site: Site, jars: list[Jar], folder: Path) -> Iterator[Step]:
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        futures: dict[Future[None], Jar] = {pool.submit(_fetch, site, jar, folder): jar for jar in jars}
        try:
            for done, future in enumerate(as_completed(futures), 1):
                future.result()
                yield Step("download", f"{done} of {len(jars)} jars: {futures[future].name}", 0.95 * done / len(jars))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _fetch(site: Site, jar: Jar, folder: Path) -> None:
    """Put one jar into `folder/made`, from this machine if it is here, else from a Maven repository."""
    site.children.check()
    target = folder / "made" / jar.name
    for local in (site.by_hand / jar.name, _own_repository(site) / jar.repository_path):
        if local.is_file() and store.sha256(local) == jar.sha256:
            shutil.copyfile(local, target)
            return
    for attempt in range(_TRIES):
        file = _download(site, jar, folder / f"maven-{attempt}")
        if store.sha256(file) == jar.sha256:
            file.replace(target)
            return
    raise UnavailableError(f"{jar.name}: what was downloaded does not have the hash in kafka.lock")


def _download(site: Site, jar: Jar, repository: Path) -> Path:
    group, artifact, version = jar.coordinate.split(":")
    context = maven(repository, site.pins.kafka.mirrors)
    site.children.check()
    try:
        return Path(context.project(group, artifact).at_version(version).artifact().resolve())
    except (OSError, RuntimeError) as error:
        if getattr(error, "errno", None) == errno.ENOSPC:
            raise
        raise UnavailableError(
            f"{jar.name} ({jar.coordinate}) can't be downloaded, and is not in {_own_repository(site)} or {site.by_hand}",
            detail=(str(error).split("(Caused by", 1)[-1][:300],),
        ) from error


def _own_repository(site: Site) -> Path:
    """The user's Maven repository."""
    if own := site.environ.get("M2_REPO"):
        return Path(own)
    return Path(site.environ.get("HOME") or os.path.expanduser("~")) / ".m2" / "repository"  # noqa: PTH111 - HOME may be unset
