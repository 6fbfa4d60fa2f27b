"""Files that are written for somebody: they appear as a whole or not at all, and never in the place of another one."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from todoctl.errors import RefusedError


@dataclass
class NewFile:
    """A file that is being written; without `is_wanted` nothing of it stays."""

    stream: BinaryIO
    is_wanted: bool = True


@contextmanager
def named(path: Path) -> Iterator[None]:
    """An error of the system says which file it is about; of a full disk the system itself does not say it."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


@contextmanager
def new_file(path: Path) -> Iterator[NewFile]:
    """The file, on the disk under its name when the context ends well.

    What a process that was killed left of it is written over; half of a file would stand in the next one's way.

    Raises:
        RefusedError: another process writes it at this moment, or a file of its name has come meanwhile.
    """
    partial = path.with_name(f".{path.name}.partial")
    with named(path), _alone(partial, path) as stream:
        try:
            stream.truncate(0)
            yield (found := NewFile(stream))
            stream.flush()
            os.fsync(stream.fileno())
            if found.is_wanted:
                _name(partial, path)
        finally:
            partial.unlink(missing_ok=True)


@contextmanager
def _alone(partial: Path, path: Path) -> Iterator[BinaryIO]:
    """The partial file, open and ours until we end, however that is."""
    while True:
        with partial.open("ab") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise RefusedError(
                    f"another process writes {path}", hint="wait for its end, or say another file"
                ) from error
            except OSError:
                pass  # some network's file system has no locks
            if _is_named(stream, partial):
                yield stream
                return
            # Whoever had it before has just ended and taken its name away: what is open has none any more.


def _is_named(stream: BinaryIO, path: Path) -> bool:
    with suppress(FileNotFoundError):
        return path.stat().st_ino == os.fstat(stream.fileno()).st_ino
    return False


def _name(partial: Path, path: Path) -> None:
    try:
        os.link(partial, path)
    except FileExistsError as error:
        raise RefusedError(f"{path} is there already", hint="say another file") from error
    except OSError as error:
        # Without links on this file system the look before has to do.
        if error.errno not in {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS} or path.exists():
            raise
        partial.replace(path)
