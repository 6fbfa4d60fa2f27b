"""Dapr's programs built from the Go module, with only the components that we use.

A module of ours (dapr_build/) requires Dapr's, repeats its `replace` lines and holds every dependency to a hash.
Dapr's folder is copied out of Go's module cache, its component list is exchanged for ours, and the copy takes the
module's place: Go's `-overlay` refuses files in the module cache.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from todoctl.adapters.tools import go_space, go_steps, go_toolchain, store
from todoctl.adapters.tools.model import Absent, Step, Tool, UnavailableError
from todoctl.adapters.tools.site import Site

RECIPE = Path(__file__).with_name("dapr_build")
_MODULE = "github.com/dapr/dapr"


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
    go_space.check(site, go, environ, go_space.Build("Dapr", site.pins.dapr.go, "github.com/dapr/components-contrib@*"))
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
        module = go_steps.downloaded(self._run("mod", "download", "-json", _MODULE))
        copy = self._source / "dapr"
        go_steps.copy_module(Path(module["Dir"]), copy)
        components = copy / "cmd" / "daprd" / "components"
        for file in components.glob("*.go"):
            file.unlink()
        shutil.copyfile(RECIPE / "components.go", components / "components.go")
        for _ in self._run("mod", "edit", f"-replace={_MODULE}=./dapr"):
            pass

    def download(self, name: str) -> Iterator[Step]:
        """Have Go download the modules that the program's packages come from."""
        yield from go_steps.downloads(self._run("list", "-deps", _program(name)), self._site.pins.dapr.go.modules)

    def compile(self, name: str) -> Iterator[Step]:
        """Compile and link."""
        (self._folder / "made").mkdir()
        flags = f"-s -w -X {_MODULE}/pkg/buildinfo.version={self._site.pins.dapr.build}"
        target = self._folder / "made" / name
        said = self._run("build", "-v", "-ldflags", flags, "-o", str(target), _program(name))
        yield from go_steps.compiling(said, name, _program(name), self._site.pins.dapr.go.packages[name])

    def _run(self, *arguments: str) -> Iterator[str | None]:
        return self._site.children.run([self._go, *arguments], environ=self._environ, cwd=self._source)


def _program(name: str) -> str:
    return f"{_MODULE}/cmd/{name}"
