"""Files that are written for somebody: where the system refuses one, it is named."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def named(path: Path) -> Iterator[None]:
    """An error of the system says which file it is about; of a full disk the system itself does not say it."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise
