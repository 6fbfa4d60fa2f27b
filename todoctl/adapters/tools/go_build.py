"""Dapr's programs built from the Go module, with only the components that we use.

A module of ours (dapr_build/) requires Dapr's, repeats its `replace` lines and holds every dependency to a hash.
Dapr's folder is copied out of Go's module cache, its component list is exchanged for ours, and the copy takes the
module's place: Go's `-overlay` refuses files in the module cache.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from todoctl.adapters.tools import go_space, go_toolchain, store
from todoctl.adapters.tools.model import Absent, Step, Tool, UnavailableError
from todoctl.adapters.tools.site import Site

RECIPE = Path(__file__).with_name("dapr_build")
_MODULE = "github.com/dapr/dapr"
# How the time of a build from empty caches divides.
_DOWNLOADED, _COMPILED = 0.12, 0.96


def entry(site: Site, name: str) -> store.Entry:
    """Where the program lies in the cache: another recipe gives another folder."""
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(RECIPE.iterdir()) if path.is_file()))
    return store.entry(site.cache, name, f"{site.pins.dapr.build}-{digest.hexdigest()[:8]}")


def look(site: Site, name: str) -> Tool | Absent:
    """The program we built, if we did."""
    place = entry(site, name)
    if problem := place.problem():
        return Absent(f"Go build {site.pins.dapr.build}: {problem}")
    why = f"built from {_MODULE}@v{site.pins.dapr.build} with the components we use"
    return Tool(name, site.pins.dapr.build, "go build", place.path / name, why)


def fetch(site: Site, name: str) -> Iterator[Step]:
    """Build the program; modules and compiled packages stay in the user's own Go caches.

    Raises:
        UnavailableError: no Go, a module that can't be had, or a compile error; the detail is what Go said.
    """
    go = yield from go_toolchain.ensure(site)
    environ = build_environ(site)
    go_space.check(site, go, environ)
    with store.staging(site.cache, name) as folder:
        environ["GOTMPDIR"] = str(folder)  # so that a killed build's work goes with the staging folder
        build = _Build(site, go, folder, environ)
        try:
            yield from build.prepare()
            yield from build.download(name)
            yield from build.compile(name)
        except UnavailableError as error:
            raise go_space.explain(error, site) from error
        store.commit(folder / "made", entry(site, name))


def build_environ(site: Site) -> dict[str, str]:
    """The user's environment (proxy, module cache, private settings), less what would change what is built."""
    ours = {
        "CGO_ENABLED": "0",
        "GO111MODULE": "on",
        "GOFLAGS": "-trimpath -mod=readonly -buildvcs=false",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
    }
    unwanted = {"GOOS", "GOARCH", "GOROOT", "GOEXPERIMENT"}
    environ = {name: value for name, value in site.environ.items() if name not in unwanted}
    if "HOME" not in environ and "GOPATH" not in environ:
        ours |= {"GOPATH": str(site.cache / "gopath"), "GOCACHE": str(site.cache / "gocache")}
    return environ | ours


class _Build:
    """One build in a folder of its own: Go in, an executable in `made` out."""

    def __init__(self, site: Site, go: Path, folder: Path, environ: Mapping[str, str]) -> None:
        self._site, self._go, self._folder, self._environ = site, go, folder, environ
        self._source = folder / "src"

    def prepare(self) -> Iterator[Step]:
        """Lay out our module and Dapr's copy with our component list in it."""
        self._source.mkdir()
        for name in ("go.mod", "go.sum"):
            shutil.copyfile(RECIPE / name, self._source / name)
        yield Step("download", f"{_MODULE} {self._site.pins.dapr.build}", 0.0)
        said = [line for line in self._run("mod", "download", "-json", _MODULE) if line is not None]
        copy = self._source / "dapr"
        _copy_module(_module_folder(said), copy)
        components = copy / "cmd" / "daprd" / "components"
        for file in components.glob("*.go"):
            file.unlink()
        shutil.copyfile(RECIPE / "components.go", components / "components.go")
        for _ in self._run("mod", "edit", f"-replace={_MODULE}=./dapr"):
            pass

    def download(self, name: str) -> Iterator[Step]:
        """Have Go download the modules that the program's packages come from."""
        expected, done = self._site.pins.dapr.go.modules, 0
        for line in self._run("list", "-deps", _program(name)):
            done += (line or "").startswith("go: downloading")
            if line is None or line.startswith("go: downloading"):
                message = f"Go modules: {done} of about {expected}"
                yield Step("download", message, _DOWNLOADED * min(done / expected, 1.0))

    def compile(self, name: str) -> Iterator[Step]:
        """Compile and link."""
        (self._folder / "made").mkdir()
        expected, done, linking = self._site.pins.dapr.go.packages[name], 0, False
        flags = f"-s -w -X {_MODULE}/pkg/buildinfo.version={self._site.pins.dapr.build}"
        target = self._folder / "made" / name
        for line in self._run("build", "-v", "-ldflags", flags, "-o", str(target), _program(name)):
            done += line is not None
            # Go names a package when its compilation begins, the program itself last: then the linker is at work.
            linking = linking or line == _program(name)
            part = _COMPILED if linking else _DOWNLOADED + (_COMPILED - _DOWNLOADED) * min(done / expected, 0.99)
            counted = f"{done} of about {expected}" if done < expected else str(done)
            yield Step("link" if linking else "compile", f"{name}: {counted} packages", part)

    def _run(self, *arguments: str) -> Iterator[str | None]:
        return self._site.children.run([self._go, *arguments], environ=self._environ, cwd=self._source)


def _program(name: str) -> str:
    return f"{_MODULE}/cmd/{name}"


def _module_folder(said: list[str]) -> Path:
    """The folder in the module cache out of `go mod download -json`, whose lines may have warnings around them."""
    text = "\n".join(said)
    try:
        return Path(json.loads(text[text.index("{") : text.rindex("}") + 1])["Dir"])
    except (ValueError, KeyError) as error:
        raise UnavailableError("Go does not say where the module lies", detail=tuple(said[-20:])) from error


def _copy_module(module: Path, copy: Path) -> None:
    """Copy a module's folder; the module cache is read-only, the copy must not be."""
    shutil.copytree(module, copy, copy_function=shutil.copyfile)
    for folder in (copy, *(path for path in copy.rglob("*") if path.is_dir())):
        folder.chmod(0o755)
