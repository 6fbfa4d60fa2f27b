"""What builds and keeps images on this machine: docker, podman or buildah, by the same few verbs."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from todoctl.errors import MissingError, TodoctlError, UsageError

BUILDERS = ("docker", "podman", "buildah")
# Every file of a layer has this time, 1980-01-01, so that two builds of the same content are one image.
_EPOCH = "315532800"
_TAIL = 15


class ImageError(TodoctlError):
    """An image could not be built or looked at; the detail has the builder's last words."""


@dataclass(frozen=True)
class Builder:
    """One of the programs; `options` stand before its verb, as TODOCTL_BUILDER_OPTIONS gives them."""

    name: str
    program: Path
    options: tuple[str, ...] = ()

    def build_command(self, context: Path, reference: str, arguments: Mapping[str, str], id_file: Path) -> list[str]:
        """The command that builds the Dockerfile of `context` and writes the image's id to `id_file`.

        Sources: docs.docker.com/build/ci/github-actions/reproducible-builds; buildah-build(1), --timestamp.
        """
        given = [f"--build-arg={name}={value}" for name, value in arguments.items()]
        if self.name == "docker":
            verb = ["buildx", "build", "--load", f"--build-arg=SOURCE_DATE_EPOCH={_EPOCH}", "--provenance=false"]
        else:
            # Without a daemon, in a container or as root: no namespace of its own may be to be had.
            verb = ["build", f"--timestamp={_EPOCH}", "--format=oci"]
            verb += ["--layers", "--isolation=chroot", "--network=host"] if self.name == "buildah" else []
        return [
            str(self.program), *self.options, *verb, *given, f"--iidfile={id_file}", f"--tag={reference}", str(context),
        ]  # fmt: skip

    def build(
        self, context: Path, reference: str, arguments: Mapping[str, str], *, environ: Mapping[str, str]
    ) -> Iterator[str]:
        """Build; yields the builder's lines, and the image's id as the last one.

        Raises:
            ImageError: it failed.
        """
        with tempfile.TemporaryDirectory(prefix="todoctl-image-") as folder:
            id_file = Path(folder) / "id"
            command = self.build_command(context, reference, arguments, id_file)
            lines: list[str] = []
            with subprocess.Popen(
                command,
                env={**environ, "SOURCE_DATE_EPOCH": _EPOCH},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            ) as process:
                for line in process.stdout or ():
                    lines.append(line.rstrip())
                    yield lines[-1]
            if process.returncode or not id_file.is_file():
                raise ImageError(
                    f"{self.name} could not build {reference} (exit code {process.returncode})",
                    detail=tuple(lines[-_TAIL:]),
                    hint=" ".join(command),
                )
            yield id_file.read_text(encoding="utf-8").strip()


def find(environ: Mapping[str, str], name: str = "") -> Builder:
    """The builder called `name`, or the first one that is there.

    Raises:
        UsageError: there is no builder of that name.
        MissingError: none is installed.
    """
    if name and name not in BUILDERS:
        raise UsageError(f"{name} is no builder; use one of {', '.join(BUILDERS)}")
    options = tuple(environ.get("TODOCTL_BUILDER_OPTIONS", "").split())
    for candidate in (name,) if name else BUILDERS:
        if program := shutil.which(candidate, path=environ.get("PATH", os.defpath)):
            return Builder(candidate, Path(program), options)
    raise MissingError(
        f"{name or 'no program that builds images'} is not on PATH",
        hint="install docker, podman or buildah (Debian: apt-get install buildah)",
    )
