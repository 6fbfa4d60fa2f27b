"""The cache of tools: entries that appear whole or not at all, each with a manifest of its files' hashes.

- `<cache>/<tool>/<key>/`: an entry, world-readable; manifest.json lists its files
- `<cache>/tmp-<tool>-…/`: one being made; whoever holds the tool's lock removes those left behind
- `<cache>/<tool>.lock`, `.holder`: who installs this tool now
- `<cache>/by-hand/`: files that a person brought
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from todoctl.errors import MissingError, RefusedError, TodoctlError

MANIFEST = "manifest.json"
_MIB = 1024 * 1024


@dataclass(frozen=True)
class Entry:
    """A place in the cache for one version of a tool, installed or not."""

    tool: str
    path: Path

    @property
    def manifest(self) -> Path:
        """The file that makes the folder an installed tool."""
        return self.path / MANIFEST

    @property
    def present(self) -> bool:
        """Whether there is anything, sound or not."""
        try:
            return self.path.exists()
        except OSError:
            return False

    def problem(self, *, full: bool = False) -> str:
        """What is wrong with the entry, empty when nothing is.

        Sizes and times are compared; a file that differs there, or every file when `full`, is hashed.
        """
        try:
            files = json.loads(self.manifest.read_text(encoding="utf-8"))["files"]
        except FileNotFoundError:
            return "the manifest is missing" if self.present else "not installed"
        except (OSError, ValueError, KeyError, TypeError) as error:
            return f"the manifest can't be read: {error}"
        for name, expected in files.items():
            if problem := _differs(self.path / name, expected, full=full):
                return f"{name} {problem}"
        return ""

    def sound_files(self) -> set[str]:
        """The names of the files that are as they were installed, each one hashed."""
        try:
            files = json.loads(self.manifest.read_text(encoding="utf-8"))["files"]
        except (OSError, ValueError, KeyError, TypeError):
            return set()
        return {name for name, expected in files.items() if not _differs(self.path / name, expected, full=True)}


def entry(cache: Path, tool: str, key: str) -> Entry:
    """The cache entry of one version of a tool."""
    return Entry(tool, cache / tool / key)


def prepare(cache: Path) -> None:
    """Make the cache folder, readable for everybody whatever the umask.

    Raises:
        RefusedError: another user could put programs there for us to run.
        MissingError: it can't be written.
    """
    try:
        _make_folder(cache)
    except OSError as error:
        raise _not_writable(cache, error) from error
    require_trust(cache)
    if not os.access(cache, os.W_OK):
        raise _not_writable(cache, None)
    for left in cache.glob("tmp-seen-*"):
        left.unlink(missing_ok=True)


def require_trust(cache: Path) -> None:
    """Return when nobody else could have put programs there for us to run.

    Raises:
        RefusedError: another user could.
    """
    try:
        status = cache.stat()
    except OSError:
        return
    if status.st_uid not in {0, os.geteuid()} or status.st_mode & stat.S_IWOTH:
        raise RefusedError(
            f"the cache {cache} can be written by another user, so its programs are not to be trusted",
            hint=f"chown it to you and chmod go-w, or set TODOCTL_CACHE to a folder of yours (now {cache})",
        )


@contextmanager
def staging(cache: Path, tool: str) -> Iterator[Path]:
    """A new folder in the cache for making an entry; gone afterwards. Hold the tool's lock."""
    sweep(cache, tool)
    folder = Path(tempfile.mkdtemp(prefix=f"tmp-{tool}-", dir=cache))
    try:
        yield folder
    finally:
        _remove(folder)


def sweep(cache: Path, tool: str) -> None:
    """Remove what killed installations of this tool left. Hold the tool's lock: then nobody is using it."""
    for folder in cache.glob(f"tmp-{tool}-*"):
        _remove(folder)


def commit(made: Path, target: Entry) -> None:
    """Turn a finished folder (in the staging folder) into the entry, replacing a broken one."""
    _open_to_all(made)
    manifest = {"files": {name: _describe(made / name) for name in _files(made)}}
    (made / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    (made / MANIFEST).chmod(0o644)
    _make_folder(target.path.parent)
    if target.path.exists():
        # Two renames, not one: a kill between them leaves no entry at all, which the next run makes anew.
        target.path.rename(made.parent / "replaced")
    made.rename(target.path)


def need_space(folder: Path, mib: int, purpose: str) -> None:
    """Return when `folder`'s disk has room for `mib` MiB.

    Raises:
        TodoctlError: it has not; the message says what is needed and what is there.
    """
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free // _MIB
    if free < mib:
        raise TodoctlError(
            f"{purpose} needs {_size(mib)} in {folder}, the disk has {_size(free)} free",
            hint="free some space, or set TODOCTL_CACHE to a folder on another disk",
        )


def disk_full(when: str, detail: tuple[str, ...] = ()) -> TodoctlError:
    """The error for a disk that filled up all the same."""
    return TodoctlError(
        f"the disk filled up while {when}",
        hint="free some space, or set TODOCTL_CACHE to a folder on another disk; the next run begins anew",
        detail=detail,
    )


def sha256(path: Path) -> str:
    """The hash of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _differs(path: Path, expected: dict[str, object], *, full: bool) -> str:
    try:
        status = path.lstat()
    except OSError:
        return "is missing"
    if stat.S_ISLNK(status.st_mode):
        return "" if str(path.readlink()) == expected.get("link") else "points elsewhere"
    if status.st_size != expected.get("size"):
        return f"has {status.st_size} bytes in place of {expected.get('size')}"
    if not full and status.st_mtime_ns == expected.get("mtime_ns"):
        return ""
    with suppress(OSError):
        if sha256(path) == expected.get("sha256"):
            return ""
    return "has another content than when it was installed"


def _describe(path: Path) -> dict[str, object]:
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        return {"link": str(path.readlink())}
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "sha256": sha256(path)}


def _files(folder: Path) -> Iterator[str]:
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or path.is_file():
            yield str(path.relative_to(folder))


def _open_to_all(folder: Path) -> None:
    """Let every user read and, where it makes sense, execute; an inherited umask must not decide that."""
    for path in (folder, *folder.rglob("*")):
        if path.is_symlink():
            continue
        executable = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
        path.chmod(0o755 if executable else 0o644)


def _make_folder(folder: Path) -> None:
    for path in reversed([folder, *folder.parents]):
        if not path.exists():
            path.mkdir(exist_ok=True)
            path.chmod(0o755)


def _remove(folder: Path) -> None:
    """Remove a tree, read-only folders (Go's) included."""
    for path, _, _ in os.walk(folder):
        with suppress(OSError):
            Path(path).chmod(0o755)
    shutil.rmtree(folder, ignore_errors=True)


def _not_writable(cache: Path, error: OSError | None) -> MissingError:
    reason = f": {error.strerror}" if error else ""
    return MissingError(
        f"the cache {cache} can't be written{reason}", hint="set TODOCTL_CACHE to a folder that you can write"
    )


def _size(mib: int) -> str:
    return f"{mib} MiB" if mib < 1024 else f"{mib / 1024:.1f} GiB"
