"""A Minikube and a builder for tests: programs with a state, on a PATH of their own."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.program import ROOT, Program

# It keeps images by name, and writes the archives that the fake Minikube reads.
_BUILDAH = """
import io, json, os, pathlib, sys, tarfile
home = pathlib.Path(__file__).parent / "buildah-state"
home.mkdir(exist_ok=True)
words = sys.argv[1:]
file = home / "images.json"
images = json.loads(file.read_text()) if file.exists() else {}
options = [word.partition("=")[::2] for word in words]
if words[0] == "build":
    service = dict(value.partition("=")[::2] for name, value in options if name == "--build-arg")["SERVICE"]
    with (home / "built").open("a") as built:
        built.write(service + "\\n")
    if (home / "broken").exists() and (home / "broken").read_text() == service:
        sys.exit("no space left on device")
    images |= {value: "sha256:" + service for name, value in options if name == "--tag"}
    file.write_text(json.dumps(images))
    pathlib.Path(dict(options)["--iidfile"]).write_text("sha256:" + service)
elif words[0] == "inspect":
    print(images.get(words[-1], ""))
    sys.exit(words[-1] not in images)
elif words[0] == "push":
    kind, archive, name = words[-1].split(":", 2)
    manifest = json.dumps([{"Config": "x.json", "RepoTags": [name], "Layers": []}]).encode()
    with tarfile.open(archive, "w") as packed:
        entry = tarfile.TarInfo("manifest.json")
        entry.size = len(manifest)
        packed.addfile(entry, io.BytesIO(manifest))
"""


@dataclass(frozen=True)
class FakeMinikube:
    """The program in a folder `bin`, with its state beside it."""

    folder: Path

    def __post_init__(self) -> None:
        self.bin.mkdir(parents=True, exist_ok=True)
        self.state.mkdir(exist_ok=True)
        # The interpreter by its path: on PATH there may be none that has what the program needs.
        self.write("minikube", f'exec {sys.executable} {ROOT / "tests" / "minikube_program.py"} "$@"')

    @property
    def bin(self) -> Path:
        return self.folder / "bin"

    @property
    def state(self) -> Path:
        return self.folder / "minikube-state"

    @property
    def environ(self) -> dict[str, str]:
        """What the program needs to know."""
        return {"FAKE_MINIKUBE": str(self.state), "PATH": f"{self.bin}:/usr/bin:/bin"}

    def write(self, name: str, line: str) -> None:
        """A program of one line."""
        (self.bin / name).write_text(f"#!/bin/sh\n{line}\n")
        (self.bin / name).chmod(0o755)

    def with_builder(self) -> None:
        """A buildah beside it."""
        (self.bin / "buildah.py").write_text(_BUILDAH)
        self.write("buildah", f'exec {sys.executable} {self.bin / "buildah.py"} "$@"')

    def built(self) -> list[str]:
        """The services that were built, as often as they were."""
        file = self.bin / "buildah-state" / "built"
        return file.read_text().split() if file.exists() else []

    def put(self, name: str, text: str = "") -> None:
        """One of the files that change how the program behaves."""
        (self.state / name).write_text(text)

    def remove(self, name: str) -> None:
        (self.state / name).unlink()

    def calls(self, *verbs: str) -> list[str]:
        """What it was asked, of these verbs."""
        file = self.state / "calls"
        lines = file.read_text().splitlines() if file.exists() else []
        return [line for line in lines if line.startswith(verbs)]

    def profile(self, name: str = "minikube") -> dict[str, Any] | None:
        """A profile as the program keeps it."""
        file = self.state / "state.json"
        found = json.loads(file.read_text()).get(name) if file.exists() else None
        return dict(found) if found else None

    def have(self, name: str = "minikube", *, cpus: int = 4, memory: int = 8192, host: str = "Running") -> None:
        """A profile that somebody else made."""
        made = {"Name": name, "Memory": memory, "CPUs": cpus, "Driver": "docker"}
        made["KubernetesConfig"] = {"APIServerNames": None, "ContainerRuntime": "docker"}
        state = {name: {"Config": made, "Host": host, "Images": [], "Starts": 1}}
        (self.state / "state.json").write_text(json.dumps(state))

    def program(self) -> Program:
        """Todoctl with nothing else on its PATH."""
        return Program(self.folder, {**self.environ, "KUBECONFIG": str(self.folder / "kubeconfig")})
