"""Releases on disk: an immutable folder for each revision, and beside it the record of what became of it."""

from __future__ import annotations

import compileall
import hashlib
import importlib.util
import json
import os
import py_compile
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from todoctl.core.releases import Manifest, Release, deployed
from todoctl.errors import TodoctlError

_LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")
_CHECKOUT_RUNS = "checkout"  # a file of this name: the checkout runs although there is a release
_SECONDS = 60


@dataclass(frozen=True)
class Running:
    """What the environment runs: a release's code and values; None for each where the checkout runs."""

    release: Release | None = None
    code: Path | None = None
    values: dict[str, Any] | None = None

    @property
    def revision(self) -> int | None:
        """The release's number; None where the checkout runs."""
        return self.release.revision if self.release else None


@dataclass(frozen=True)
class Store:
    """The releases of one environment below its folder."""

    root: Path

    @property
    def folder(self) -> Path:
        """Where all releases lie."""
        return self.root / "releases"

    def path(self, revision: int) -> Path:
        """The folder of a release."""
        return self.folder / str(revision)

    def code(self, revision: int) -> Path:
        """What a release's processes have on their import path."""
        return self.path(revision) / "code"

    def history(self) -> list[Release]:
        """Every record, oldest first.

        Raises:
            TodoctlError: a record is damaged.
        """
        records = self.folder.glob("*.json") if self.folder.is_dir() else ()
        return sorted((_read_record(path) for path in records), key=lambda item: item.revision)

    def record(self, release: Release) -> None:
        """Write what became of a release, whole or not at all and past a power cut."""
        _write(self.folder / f"{release.revision}.json", release.model_dump_json(indent=1))

    def manifest(self, revision: int) -> Manifest:
        """What a release is.

        Raises:
            TodoctlError: it is not kept any more, or damaged.
        """
        path = self.path(revision) / "manifest.json"
        try:
            return Manifest.model_validate_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise TodoctlError(f"release {revision} can't be read: {path}", hint="todoctl history") from error

    def has(self, revision: int) -> bool:
        """Whether the release's folder is there to run from."""
        return (self.path(revision) / "manifest.json").is_file()

    def running(self) -> Running:
        """What the environment runs."""
        release = deployed(self.history())
        if release is None or (self.folder / _CHECKOUT_RUNS).exists():
            return Running()
        return Running(release, self.code(release.revision), self.manifest(release.revision).values)

    def run_checkout(self, *, instead: bool) -> None:
        """Have the checkout run in place of the deployed release, or no longer."""
        if instead and self.folder.is_dir():
            (self.folder / _CHECKOUT_RUNS).touch()
        elif not instead:
            (self.folder / _CHECKOUT_RUNS).unlink(missing_ok=True)

    def draft(self) -> Path:
        """An empty folder for a release in the making; those that killed commands left are cleared."""
        self.folder.mkdir(exist_ok=True)
        for stale in self.folder.glob(".draft-*"):
            if not _lives(int(stale.name.rpartition("-")[2])):
                remove(stale)
        made = self.folder / f".draft-{os.getpid()}"
        made.mkdir()
        return made

    def keep(self, draft: Path, revision: int, manifest: Manifest) -> None:
        """Make the draft the release: complete, read-only, in its place by one rename."""
        remove(self.path(revision))
        (draft / "manifest.json").write_text(manifest.model_dump_json(), encoding="utf-8")
        _seal(draft)
        draft.rename(self.path(revision))

    def forget_before(self, revision: int) -> None:
        """Remove the code of releases older than that; their records stay."""
        for item in self.history():
            if item.revision < revision and item.state != "deployed":
                remove(self.path(item.revision))

    def changed_files(self, revision: int) -> list[str]:
        """The release's files that are not as they were when it was made."""
        recorded, present = self.manifest(revision).files, digests(self.code(revision))
        return sorted(name for name in recorded.keys() | present.keys() if recorded.get(name) != present.get(name))


def copy_checkout(target: Path) -> None:
    """Copy what the services are made of: their packages, and the part of todoctl that they import."""
    for package, names in (("services", ("",)), ("todoctl", ("__init__.py", "core"))):
        source = _package(package)
        for name in names:
            _copy(source / name, target / package / name)
    compile_all(target)


def copy_release(code: Path, target: Path) -> None:
    """Copy the code of an earlier release."""
    shutil.copytree(code, target)
    for path in (target, *target.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def compile_all(code: Path) -> None:
    """Byte code for every module: the folder is read-only, so nobody could write it later, and starts are quicker."""
    compileall.compile_dir(
        code, quiet=2, workers=1, stripdir=str(code), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
    )


def digests(code: Path) -> dict[str, str]:
    """File → SHA-256 of everything below the folder."""
    files = sorted(path for path in code.rglob("*") if path.is_file())
    return {str(path.relative_to(code)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def code_digest(files: Mapping[str, str]) -> str:
    """One digest for all sources; byte code, which differs with Python's version, is not of it."""
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(sources(files).items()))
    return f"sha256:{hashlib.sha256(lines.encode()).hexdigest()}"


def sources(files: Mapping[str, str]) -> dict[str, str]:
    """The files that people write."""
    return {name: digest for name, digest in files.items() if not name.endswith(".pyc")}


def environ(code: Path | None, base: Mapping[str, str]) -> dict[str, str]:
    """The variables by which a process runs a release's code and not the installed one; none for the checkout."""
    if code is None:
        return {}
    path = os.pathsep.join(filter(None, (str(code), base.get("PYTHONPATH"))))
    return {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


def describe(python: Path, code: Path | None, base: Mapping[str, str]) -> dict[str, Any]:
    """What the code says of itself (`python -m services.release`); None for the installed code.

    Raises:
        TodoctlError: it can't even be loaded; the detail has its last words.
    """
    try:
        done = subprocess.run(
            [str(python), "-P", "-m", "services.release"],
            env={**base, **environ(code, base)},
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise TodoctlError(f"services.release did not answer within {_SECONDS} s", hint="todoctl diff") from error
    if done.returncode:
        detail = tuple(done.stderr.splitlines()[-12:])
        raise TodoctlError("the code can't be loaded, so it can't be a release", detail=detail, hint="mend the code")
    return dict(json.loads(done.stdout))


def remove(folder: Path) -> None:
    """Remove a folder although it is read-only."""
    for path in (folder, *folder.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(folder, ignore_errors=True)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    locations = list(spec.submodule_search_locations or ()) if spec else []
    if not locations:
        raise TodoctlError(f"the package {name} is not installed", hint="pip install '.[all]' in todoctl's checkout")
    return Path(locations[0])


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=_LEFT_OUT)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def _seal(folder: Path) -> None:
    for path in (*folder.rglob("*"), folder):
        # PostgreSQL's user has no business here; ours only reads.
        path.chmod(0o555 if path.is_dir() else 0o444)


def _read_record(path: Path) -> Release:
    try:
        return Release.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise TodoctlError(
            f"the record {path} is damaged", hint="move it away; its release can't be gone back to then"
        ) from error


def _write(path: Path, text: str) -> None:
    draft = path.with_suffix(f".{os.getpid()}.new")
    with draft.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(path)
