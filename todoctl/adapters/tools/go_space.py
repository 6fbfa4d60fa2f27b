"""Room on the disks that a Go build writes to, looked at before it begins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from todoctl.adapters.tools import probe, store
from todoctl.adapters.tools.model import UnavailableError
from todoctl.adapters.tools.pins import RoomPin
from todoctl.adapters.tools.site import Site


@dataclass(frozen=True)
class Build:
    """What is built, the room it takes, and a folder of Go's module cache that shows its modules to be there."""

    name: str
    room: RoomPin
    module: str


def check(site: Site, go: Path, environ: Mapping[str, str], build: Build) -> None:
    """Return when the build has room: our cache, Go's module cache and Go's build cache, summed per disk.

    Raises:
        TodoctlError: it has not.
    """
    pin = build.room
    said = probe.run(go, "env", "GOMODCACHE", "GOCACHE", site=site, **environ).splitlines()
    needs = [(site.cache, pin.mib)]
    # With the modules there, the compiled packages mostly are too; Go itself says when the disk fills up after all.
    if len(said) == 2 and not any(Path(said[0]).glob(build.module)):
        needs += [(Path(said[0]), pin.module_mib), (Path(said[1]), pin.build_mib)]
    per_disk: Counter[int] = Counter()
    for folder, mib in needs:
        disk = next(path for path in (folder, *folder.parents) if path.exists()).stat().st_dev
        per_disk[disk] += mib
        store.need_space(folder, per_disk[disk], f"building {build.name} with Go")


def explain(error: UnavailableError, site: Site) -> UnavailableError:
    """The same failure, in words of ours where Go's are known."""
    text = "\n".join(error.detail)
    if "GOPROXY=off" in text:
        return UnavailableError(
            "Go build: a module is missing and GOPROXY=off forbids the download", detail=error.detail
        )
    if any(words in text for words in ("dial tcp", "no such host", "i/o timeout", "connection refused")):
        return UnavailableError("Go build: the Go module proxy can't be reached", detail=error.detail)
    return UnavailableError(f"Go build in {site.cache}: {error.reason}", detail=error.detail)
