"""What builds and keeps images on this machine: docker, podman or buildah, by the same few verbs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from todoctl.adapters import image_registries
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

    def build_command(
        self, context: Path, references: Sequence[str], arguments: Mapping[str, str], id_file: Path
    ) -> list[str]:
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
        names = [f"--tag={reference}" for reference in references]
        return self._command(*verb, *given, f"--iidfile={id_file}", *names, str(context))

    def build(
        self, context: Path, references: Sequence[str], arguments: Mapping[str, str], *, environ: Mapping[str, str]
    ) -> Iterator[str]:
        """Build one image with all these names; yields the builder's lines, and the image's id as the last one.

        Raises:
            ImageError: it failed.
        """
        with tempfile.TemporaryDirectory(prefix="todoctl-image-") as folder:
            id_file = Path(folder) / "id"
            command = self.build_command(context, references, arguments, id_file)
            lines: list[str] = []
            code = yield from self._run(command, {**environ, "SOURCE_DATE_EPOCH": _EPOCH}, lines)
            if code or not id_file.is_file():
                raise ImageError(
                    f"{self.name} could not build {references[0]} (exit code {code})",
                    detail=tuple(lines[-_TAIL:]),
                    hint=" ".join(command),
                )
            yield id_file.read_text(encoding="utf-8").strip()

    def identity(self, reference: str, *, environ: Mapping[str, str]) -> str | None:
        """The id of an image that is on this machine, None where there is none of that name."""
        if self.name == "buildah":
            question = ["inspect", "--type=image", "--format={{.FromImageID}}", reference]
        else:
            question = ["image", "inspect", "--format={{.Id}}", reference]
        return self._answer(question, environ)

    def push(self, reference: str, *, insecure: bool, environ: Mapping[str, str]) -> Iterator[str]:
        """Push an image to the registry in its name; yields the builder's lines, and its digest there as the last one.

        `insecure` lets podman and buildah speak plain HTTP, or with a certificate that nobody vouches for; docker's
        daemon is told so by its own configuration.

        Raises:
            TodoctlError: the registry did not take it; it says why, and what to do.
        """
        with tempfile.TemporaryDirectory(prefix="todoctl-push-") as folder:
            file = Path(folder) / "digest"
            if self.name == "docker":
                words = ["push", reference]
            else:
                # docker:// is what podman and buildah call a registry.
                trust = ["--tls-verify=false"] if insecure else []
                words = ["push", *trust, f"--digestfile={file}", reference, f"docker://{reference}"]
            lines: list[str] = []
            code = yield from self._run(self._command(*words), environ, lines)
            if code:
                raise image_registries.failure(self.name, reference, lines[-_TAIL:], insecure=insecure)
            digest = self._pushed(reference, environ) if self.name == "docker" else file.read_text(encoding="utf-8")
            yield digest.strip()

    def _pushed(self, reference: str, environ: Mapping[str, str]) -> str:
        """The digest that docker noted for an image when it pushed it."""
        said = self._answer(["image", "inspect", "--format={{json .RepoDigests}}", reference], environ)
        name = reference.rpartition(":")[0]
        known = dict(str(item).split("@", 1) for item in json.loads(said or "null") or [])
        found = known.get(name)
        if found is None:
            raise ImageError(
                f"docker does not say by which digest it pushed {reference}", hint=f"docker push {reference}"
            )
        return found

    def save(self, reference: str, archive: Path, *, environ: Mapping[str, str]) -> None:
        """Write an image to an archive that every container runtime can load.

        Raises:
            ImageError: it failed.
        """
        words = {
            "docker": ["save", f"--output={archive}", reference],
            "podman": ["save", "--format=docker-archive", f"--output={archive}", reference],
            "buildah": ["push", reference, f"docker-archive:{archive}:{reference}"],
        }[self.name]
        done = self._ended(words, environ)
        if done.returncode:
            raise ImageError(
                f"{self.name} could not write {reference} to an archive (exit code {done.returncode})",
                detail=tuple(done.stderr.splitlines()[-_TAIL:]),
                hint=" ".join(self._command(*words)),
            )

    def is_alive(self, environ: Mapping[str, str]) -> bool:
        """Whether it can work; docker can't without its daemon."""
        return self.name != "docker" or bool(self._answer(["version", "--format={{.Server.Version}}"], environ))

    def _command(self, *words: str) -> list[str]:
        return [str(self.program), *self.options, *words]

    def _answer(self, words: Sequence[str], environ: Mapping[str, str]) -> str | None:
        done = self._ended(words, environ)
        return None if done.returncode else done.stdout.strip()

    def _ended(self, words: Sequence[str], environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._command(*words),
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )

    def _run(self, command: list[str], environ: Mapping[str, str], lines: list[str]) -> Generator[str, None, int]:
        """Run to the end; yields the lines, keeps them, and returns the exit code."""
        with subprocess.Popen(
            command,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as process:
            for line in process.stdout or ():
                lines.append(line.rstrip())
                yield lines[-1]
        return process.returncode


def find(environ: Mapping[str, str], name: str = "") -> Builder:
    """The builder called `name`, or the first one that is there and works.

    Raises:
        UsageError: there is no builder of that name.
        MissingError: none is installed, or docker has no daemon.
    """
    if name and name not in BUILDERS:
        raise UsageError(f"{name} is no builder", hint=f"--builder with one of {', '.join(BUILDERS)}")
    options = tuple(environ.get("TODOCTL_BUILDER_OPTIONS", "").split())
    idle = ""
    for candidate in (name,) if name else BUILDERS:
        if program := shutil.which(candidate, path=environ.get("PATH", os.defpath)):
            # With its options, which may lead to another daemon.
            found = Builder(candidate, Path(program), options)
            if found.is_alive(environ):
                return found
            idle = f"{program} is there, but its daemon does not answer"
    raise MissingError(
        idle or f"{name or 'no program that builds images'} is not on PATH",
        hint=("start docker's daemon, or " if idle else "")
        + "install docker, podman or buildah (Debian: apt-get install buildah)",
    )
