"""helm, kubeseal and minikube: on PATH when right, else from a release archive, else built from their Go module.

A module is built as the main one, in a copy of its folder: its content is held to the pinned hash, and its own go.sum
holds every dependency. `go install` would refuse the `replace` lines that some have.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from todoctl.adapters.tools import go_build, go_space, go_steps, go_toolchain, probe, release, store
from todoctl.adapters.tools.model import Absent, Step, Tool, UnavailableError
from todoctl.adapters.tools.pins import ProgramPin
from todoctl.adapters.tools.site import Site


def on_path(site: Site, name: str) -> Tool | Absent:
    """The first one on PATH."""
    found = probe.which(site, name)
    return judge(site, name, found, "PATH") if found else Absent(f"no {name} on PATH")


def by_hand(site: Site, name: str) -> Tool | Absent:
    """The one that a person put into the cache."""
    program = site.by_hand / name
    return judge(site, name, program, "by hand") if program.is_file() else Absent(f"no {program}")


def judge(site: Site, name: str, program: Path, source: str) -> Tool | Absent:
    """The program as a tool, or why it won't do."""
    pin = site.pins.programs[name]
    said = probe.said(site, program, *pin.says)
    match = re.search(r"\d+\.\d+\.\d+", said)
    if match is None:
        return Absent(f"{program} does not say which version it is", unfit=True)
    version = _numbers(match[0])
    if version < _numbers(pin.minimum) or (pin.below and version >= _numbers(pin.below)):
        return Absent(f"{program} is {name} {match[0]}, {wanted(pin)} is needed", unfit=True)
    return Tool(name, match[0], source, program, f"{name} {match[0]} is {wanted(pin)}")


def wanted(pin: ProgramPin) -> str:
    """Which versions are right, in words."""
    return f"≥ {pin.minimum}" + (f" and < {pin.below}" if pin.below else "")


def archive(pin: ProgramPin) -> release.Archive:
    """The release archive for this machine."""
    name, checksum = _filled(pin.archive, pin), _filled(pin.checksum, pin)
    url = _filled(pin.url, pin)
    return release.Archive(name, pin.version, f"{url}/{name}", f"{url}/{checksum}", pin.sha256)


def released_entry(site: Site, name: str) -> store.Entry:
    """Where the release's program lies in the cache."""
    return store.entry(site.cache, name, f"{site.pins.programs[name].version}-release")


def look_released(site: Site, name: str) -> Tool | Absent:
    """The program of the release archive, if it was fetched before."""
    place, version = released_entry(site, name), site.pins.programs[name].version
    if problem := place.problem():
        return Absent(f"release archive {version}: {problem}")
    return Tool(name, version, "release", place.path / name, "release archive, checksum verified")


def fetch_released(site: Site, name: str) -> Iterator[Step]:
    """Bring the program out of an archive that a person brought, or from the release host.

    Raises:
        UnavailableError: the host can't be reached, has no such archive, or sends something else.
    """
    pin = site.pins.programs[name]
    store.need_space(site.cache, pin.mib, name)
    with store.staging(site.cache, name) as folder:
        wanted_archive = archive(pin)
        packed = folder / wanted_archive.name
        yield from release.bring(site, wanted_archive, packed)
        yield Step("unpack", packed.name, 0.95)
        made = folder / "made"
        made.mkdir()
        release.unpack(packed, _filled(pin.member, pin), made / name)
        judged = judge(site, name, made / name, "release")
        if isinstance(judged, Absent):
            raise UnavailableError(judged.reason)
        store.commit(made, released_entry(site, name))


def built_entry(site: Site, name: str) -> store.Entry:
    """Where the built program lies in the cache: other flags give another folder."""
    pin = site.pins.programs[name]
    digest = hashlib.sha256("\n".join((pin.go.sum, pin.go.package, *pin.go.flags)).encode())
    return store.entry(site.cache, name, f"{pin.version}-{digest.hexdigest()[:8]}")


def look_built(site: Site, name: str) -> Tool | Absent:
    """The program we built, if we did."""
    place, pin = built_entry(site, name), site.pins.programs[name]
    if problem := place.problem():
        return Absent(f"Go build {pin.version}: {problem}")
    return Tool(name, pin.version, "go build", place.path / name, f"built from {pin.go.path}@v{pin.version}")


def build(site: Site, name: str) -> Iterator[Step]:
    """Build the program; modules and compiled packages stay in the user's own Go caches.

    Raises:
        UnavailableError: no Go, a module that can't be had or is not the pinned one, or a compile error.
    """
    pin = site.pins.programs[name]
    go = yield from go_toolchain.ensure(site, pin.go.minimum)
    environ = go_build.build_environ(site)
    module = f"{pin.go.path}@v{pin.version}"
    go_space.check(site, go, environ, go_space.Build(name, pin.go, module))
    with store.staging(site.cache, name) as folder:
        environ["GOTMPDIR"] = str(folder)  # so that a killed build's work goes with the staging folder
        try:
            yield from _compile(site, name, go, folder, environ)
        except UnavailableError as error:
            raise go_space.explain(error, site) from error
        judged = judge(site, name, folder / "made" / name, "go build")
        if isinstance(judged, Absent):
            raise UnavailableError(judged.reason)
        store.commit(folder / "made", built_entry(site, name))


def _compile(site: Site, name: str, go: Path, folder: Path, environ: Mapping[str, str]) -> Iterator[Step]:
    pin = site.pins.programs[name]
    source, made = folder / "src", folder / "made"
    made.mkdir()

    def run(*arguments: str, cwd: Path) -> Iterator[str | None]:
        return site.children.run([go, *arguments], environ=environ, cwd=cwd)

    yield Step("download", f"{pin.go.path} {pin.version}", 0.0)
    module = go_steps.downloaded(run("mod", "download", "-json", f"{pin.go.path}@v{pin.version}", cwd=folder))
    if module.get("Sum") != pin.go.sum:
        raise UnavailableError(f"the module {pin.go.path}@v{pin.version} does not have the pinned hash {pin.go.sum}")
    go_steps.copy_module(Path(module["Dir"]), source)
    yield from go_steps.downloads(run("list", "-deps", pin.go.package, cwd=source), pin.go.modules)
    flags = " ".join(("-s -w", *(f"-X {_filled(flag, pin)}" for flag in pin.go.flags)))
    arguments = ("build", "-v", "-ldflags", flags, "-o", str(made / name), pin.go.package)
    package = f"{pin.go.path}/{pin.go.package.removeprefix('./')}"
    yield from go_steps.compiling(run(*arguments, cwd=source), name, package, pin.go.packages)


def _filled(text: str, pin: ProgramPin) -> str:
    return text.format(version=pin.version, os=release.system(), arch=release.machine())


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
