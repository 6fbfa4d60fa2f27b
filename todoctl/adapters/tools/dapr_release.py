"""Dapr's programs out of the release archive, held to a pinned or published hash."""

from __future__ import annotations

from collections.abc import Iterator

from todoctl.adapters.tools import dapr_found, release, store
from todoctl.adapters.tools.model import Absent, Step, Tool, UnavailableError
from todoctl.adapters.tools.site import Site


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
    return f"{name}_{release.system()}_{release.machine()}.tar.gz"


def fetch(site: Site, name: str) -> Iterator[Step]:
    """Bring the program out of an archive that a person brought, or from the release host.

    Raises:
        UnavailableError: the host can't be reached, has no such archive, or sends something else.
    """
    pins = site.pins.dapr
    store.need_space(site.cache, pins.mib, f"Dapr's {name}")
    with store.staging(site.cache, name) as folder:
        packed = folder / archive(name)
        url = f"{pins.url}/v{pins.release}/{packed.name}"
        yield from release.bring(
            site, release.Archive(packed.name, pins.release, url, f"{url}.sha256", pins.sha256), packed
        )
        yield Step("unpack", packed.name, 0.95)
        made = folder / "made"
        made.mkdir()
        release.unpack(packed, name, made / name)
        # An archive whose program lacks what we use is no use; the next source builds one that has it.
        judged = dapr_found.judge(site, name, made / name, "release")
        if isinstance(judged, Absent):
            raise UnavailableError(judged.reason)
        store.commit(made, entry(site, name))
