"""A pretended machine: folders, fake programs on its PATH, pins that point to this machine only."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from todoctl.adapters.tools import dapr_found, pins
from todoctl.adapters.tools.site import Site

CLOSED = "http://127.0.0.1:9"  # nothing listens there

FAKE_GO = """#!/bin/sh
echo "$*" >> "$FAKE/said"
case "$1 $2" in
"env GOVERSION") echo go${FAKE_GO_VERSION:-1.25.1};;
"env GOMODCACHE") echo "$FAKE/modules"; echo "$FAKE/build";;
"mod download") echo '{"Dir": "'"$FAKE"'/module", "Sum": "h1:fake"}';;
"mod edit") ;;
"list -deps") echo "go: downloading example.org/one v1.0.0"; echo example.org/one;;
build*)
  echo $$ > "$FAKE/pid"
  echo example.org/one
  if [ -n "$FAKE_GO_FAILS" ]; then echo "$FAKE_GO_FAILS" >&2; exit 1; fi
  while [ -e "$FAKE/hold" ]; do sleep 0.05; done
  cp "$FAKE/program" "$6"
  echo "${FAKE_GO_PACKAGE:-$7}";;
esac
"""


@dataclass(frozen=True)
class Machine:
    """Folders and environment of one pretended machine."""

    root: Path
    environ: Mapping[str, str]
    pins: pins.Pins

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def bin(self) -> Path:
        return self.root / "bin"

    @property
    def fake(self) -> Path:
        return self.root / "fake"

    @property
    def site(self) -> Site:
        return Site(self.cache, self.environ, self.pins)

    def with_pins(self, section: str, **changes: object) -> Machine:
        """The same machine with other pinned values."""
        changed = getattr(self.pins, section).model_copy(update=changes)
        return replace(self, pins=self.pins.model_copy(update={section: changed}))

    def with_program(self, name: str, **changes: object) -> Machine:
        """The same machine with other pinned values of a program; `go` takes changes, too."""
        pin = self.pins.programs[name]
        if "go" in changes:
            changes["go"] = pin.go.model_copy(update=changes["go"])  # type: ignore[arg-type]
        programs = {**self.pins.programs, name: pin.model_copy(update=changes)}
        return replace(self, pins=self.pins.model_copy(update={"programs": programs}))

    def with_environ(self, **variables: str) -> Machine:
        """The same machine with more variables."""
        return replace(self, environ={**self.environ, **variables})

    def program(self, path: Path, script: str) -> Path:
        """An executable script."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(script)
        path.chmod(0o755)
        return path

    def dapr(
        self, path: Path, name: str = "daprd", version: str = "1.16.4", marks: tuple[str, ...] | None = None
    ) -> Path:
        """A script that looks like one of Dapr's programs."""
        compiled_in = "\n# ".join(dapr_found.MARKS[name] if marks is None else marks)
        return self.program(path, f"#!/bin/sh\necho {version}\n# {compiled_in}\n# buildinfo.version={version}\n")

    def go(self) -> None:
        """A Go on PATH that pretends to download and build; it holds a build while `fake/hold` is there."""
        self.program(self.bin / "go", FAKE_GO)
        components = self.fake / "module" / "cmd" / "daprd" / "components"
        components.mkdir(parents=True)
        (components / "theirs.go").write_text("package components\n")
        components.chmod(0o555)
        self.dapr(self.fake / "program", "daprd", "1.16.0")

    def wheel(self, name: str = "parcel", version: str = "1.0") -> tuple[Path, str]:
        """A wheel in a folder of its own, and its hash."""
        folder = self.root / "wheels"
        folder.mkdir(exist_ok=True)
        path = folder / f"{name}-{version}-py3-none-any.whl"
        info = f"{name}-{version}.dist-info"
        with zipfile.ZipFile(path, "w") as wheel:
            program = zipfile.ZipInfo(f"{name}/bin/{name}")
            program.external_attr = 0o100755 << 16
            wheel.writestr(program, "#!/bin/sh\necho works\n")
            wheel.writestr(f"{name}/unused/big", "x" * 100)
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
            wheel.writestr(
                f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
            )
            wheel.writestr(f"{info}/RECORD", "")
        return path, hashlib.sha256(path.read_bytes()).hexdigest()

    def jars(self, *coordinates: str) -> Machine:
        """A Maven repository with these jars and a machine whose lock file names them."""
        lines = []
        for coordinate in coordinates:
            group, artifact, version = coordinate.split(":")
            jar = self.root.joinpath("repository", *group.split("."), artifact, version) / f"{artifact}-{version}.jar"
            jar.parent.mkdir(parents=True)
            jar.write_bytes(f"content of {coordinate}".encode())
            lines.append(f"{coordinate} {hashlib.sha256(jar.read_bytes()).hexdigest()} {jar.stat().st_size}\n")
        lock = self.root / "test.lock"
        lock.write_text("".join(lines))
        return self.with_pins("kafka", lock=str(lock), mib=1)


def until(seen: Callable[[], object], what: str, seconds: float = 15) -> None:
    """Wait until `seen` gives something true."""
    deadline = time.monotonic() + seconds
    while not seen():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        threading.Event().wait(0.01)


def archived(name: str, content: bytes) -> bytes:
    """A release archive that holds one program."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits to be reaped does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
