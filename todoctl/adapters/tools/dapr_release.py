"""Dapr's programs out of the release archive, held to a pinned or published hash."""

from __future__ import annotations

import platform
import re
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from todoctl.adapters.tools import dapr_found, https, store
from todoctl.adapters.tools.model import Absent, Step, Tool, UnavailableError
from todoctl.adapters.tools.site import Site

_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


def entry(site: Site, name: str) -> store.Entry:
    """Where the release's program lies in the cache."""
    return store.entry(site.cache, name, site.pins.dapr.release)


def look(site: Site, name: str) -> Tool | Absent:
    """The program of the release archive, if it was fetched before."""
    place = entry(site, name)
    if problem := place.problem():
        return Absent(f"release archive {site.pins.dapr.release}: {problem}")
    return Tool(name, site.pins.dapr.release, "release", place.path / name, "release archive, checksum verified")


def archive(name: str) -> str:
    """The archive's file name for this machine."""
    machine = platform.machine().lower()
    return f"{name}_{platform.system().lower()}_{_MACHINES.get(machine, machine)}.tar.gz"


def fetch(site: Site, name: str) -> Iterator[Step]:
    """Bring the program out of an archive that a person brought, or from the release host.

    Raises:
        UnavailableError: the host can't be reached, has no such archive, or sends something else.
    """
    store.need_space(site.cache, site.pins.dapr.mib, f"Dapr's {name}")
    with store.staging(site.cache, name) as folder:
        packed = folder / archive(name)
        yield from _bring(site, packed)
        yield Step("unpack", packed.name, 0.95)
        made = folder / "made"
        made.mkdir()
        unpack(packed, name, made)
        # An archive whose program lacks what we use is no use; the next source builds one that has it.
        judged = dapr_found.judge(site, name, made / name, "release")
        if isinstance(judged, Absent):
            raise UnavailableError(judged.reason)
        store.commit(made, entry(site, name))


def _bring(site: Site, packed: Path) -> Iterator[Step]:
    """Put the archive at `packed`, its hash verified."""
    pins, name = site.pins.dapr, packed.name
    brought, hash_file = site.by_hand / name, site.by_hand / f"{name}.sha256"
    if brought.is_file() and (name in pins.sha256 or hash_file.is_file()):
        packed.write_bytes(brought.read_bytes())
        expected = pins.sha256.get(name) or published(hash_file.read_text(encoding="utf-8"))
    else:
        url = f"{pins.url}/v{pins.release}/{name}"
        yield Step("reach", f"release archive {name} {pins.release}", 0.0)
        https.reach(site, url)
        expected = pins.sha256.get(name) or published(https.text(f"{url}.sha256"))
        for done, total in https.download(site, url, packed):
            message = f"{name} {pins.release}: {done / 1e6:.0f} of {total / 1e6:.0f} MB"
            yield Step("download", message, 0.9 * done / total if total else None)
    if store.sha256(packed) != expected:
        raise UnavailableError(f"{name} does not have the hash {expected}")


def published(said: str) -> str:
    """The hash in a published checksum file (`<hash>  <name>`).

    Raises:
        UnavailableError: there is none in it.
    """
    match = re.match(r"\s*([0-9a-fA-F]{64})\b", said)
    if match is None:
        raise UnavailableError("the checksum file of the release archive holds no checksum")
    return match[1].lower()


def unpack(packed: Path, name: str, folder: Path) -> None:
    """Take the one program out of the archive, whatever else is in there.

    Raises:
        UnavailableError: the archive can't be read or has no such program.
    """
    try:
        with tarfile.open(packed) as archived:
            member = next((item for item in archived if Path(item.name).name == name), None)
            content = archived.extractfile(member) if member else None
            if content is None:
                raise UnavailableError(f"{packed.name} has no {name} in it")
            (folder / name).write_bytes(content.read())
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise UnavailableError(f"{packed.name} is not a readable archive: {error}") from error
    (folder / name).chmod(0o755)
