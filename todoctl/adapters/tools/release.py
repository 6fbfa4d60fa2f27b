"""A program out of a release archive, held to a pinned or published hash."""

from __future__ import annotations

import platform
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from todoctl.adapters.tools import https, store
from todoctl.adapters.tools.model import Step, UnavailableError
from todoctl.adapters.tools.site import Site

_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Archive:
    """A release archive: where it is, where its hash is published, and the hash where we know it."""

    name: str
    version: str
    url: str
    checksum_url: str
    sha256: Mapping[str, str] = field(default_factory=dict)  # by archive name


def system() -> str:
    """The operating system in the names of archives."""
    return platform.system().lower()


def machine() -> str:
    """The machine in the names of archives."""
    found = platform.machine().lower()
    return _MACHINES.get(found, found)


def bring(site: Site, archive: Archive, packed: Path) -> Iterator[Step]:
    """Put the archive at `packed`, its hash verified: the one that a person brought, else from the release host.

    Raises:
        UnavailableError: the host can't be reached, has no such archive, or sends something else.
    """
    name = archive.name
    brought = site.by_hand / name
    hash_file = next(
        (
            path
            for path in (site.by_hand / Path(archive.checksum_url).name, site.by_hand / f"{name}.sha256")
            if path.is_file()
        ),
        None,
    )
    if brought.is_file() and (name in archive.sha256 or hash_file):
        packed.write_bytes(brought.read_bytes())
        expected = archive.sha256.get(name) or published(
            hash_file.read_text(encoding="utf-8") if hash_file else "", name
        )
    else:
        yield Step("reach", f"release archive {name} {archive.version}", 0.0)
        https.reach(site, archive.url)
        expected = archive.sha256.get(name) or published(https.text(archive.checksum_url), name)
        for done, total in https.download(site, archive.url, packed):
            message = f"{name} {archive.version}: {done / 1e6:.0f} of {total / 1e6:.0f} MB"
            yield Step("download", message, 0.9 * done / total if total else None)
    if store.sha256(packed) != expected:
        raise UnavailableError(f"{name} does not have the hash {expected}")


def published(said: str, name: str) -> str:
    """The hash in a published checksum file: the line of this archive, else the first (`<hash>  <name>` or `<hash>`).

    Raises:
        UnavailableError: there is none in it.
    """
    lines = said.splitlines()
    own = [line for line in lines if line.split()[1:] and line.split()[1].lstrip("*") == name]
    match = re.match(r"\s*([0-9a-fA-F]{64})\b", (own or lines or [""])[0])
    if match is None:
        raise UnavailableError("the checksum file of the release archive holds no checksum")
    return match[1].lower()


def unpack(packed: Path, member_name: str, target: Path) -> None:
    """Take the one program out of the archive, whatever else is in there.

    Raises:
        UnavailableError: the archive can't be read or has no such program.
    """
    try:
        with tarfile.open(packed) as archived:
            member = next((item for item in archived if Path(item.name).name == member_name and item.isfile()), None)
            content = archived.extractfile(member) if member else None
            if content is None:
                raise UnavailableError(f"{packed.name} has no {member_name} in it")
            target.write_bytes(content.read())
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise UnavailableError(f"{packed.name} is not a readable archive: {error}") from error
    target.chmod(0o755)
