"""What Go says while it downloads and compiles, as steps whose fractions grow."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from todoctl.adapters.tools.model import Step, UnavailableError

# How the time of a build from empty caches divides.
_DOWNLOADED, _COMPILED = 0.12, 0.96


def downloads(said: Iterable[str | None], expected: int) -> Iterator[Step]:
    """Steps out of `go list -deps`: `expected` modules are downloaded into an empty module cache."""
    done = 0
    for line in said:
        done += (line or "").startswith("go: downloading")
        if line is None or line.startswith("go: downloading"):
            message = f"Go modules: {done} of about {expected}"
            yield Step("download", message, _DOWNLOADED * min(done / expected, 1.0))


def compiling(said: Iterable[str | None], name: str, package: str, expected: int) -> Iterator[Step]:
    """Steps out of `go build -v`: `expected` packages are compiled with an empty build cache, `package` last."""
    done, linking = 0, False
    for line in said:
        done += line is not None
        # Go names a package when its compilation begins, the program itself last: then the linker is at work.
        linking = linking or line == package
        part = _COMPILED if linking else _DOWNLOADED + (_COMPILED - _DOWNLOADED) * min(done / expected, 0.99)
        counted = f"{done} of about {expected}" if done < expected else str(done)
        yield Step("link" if linking else "compile", f"{name}: {counted} packages", part)


def downloaded(said: Iterable[str | None]) -> dict[str, Any]:
    """What `go mod download -json` says of one module, whose lines may have warnings around them.

    Raises:
        UnavailableError: it says nothing that can be read.
    """
    lines = [line for line in said if line is not None]
    text = "\n".join(lines)
    try:
        found = json.loads(text[text.index("{") : text.rindex("}") + 1])
        found["Dir"]
    except (ValueError, KeyError) as error:
        raise UnavailableError("Go does not say where the module lies", detail=tuple(lines[-20:])) from error
    return dict(found)


def copy_module(module: Path, copy: Path) -> None:
    """Copy a module's folder; the module cache is read-only, the copy must not be."""
    shutil.copytree(module, copy, copy_function=shutil.copyfile)
    for folder in (copy, *(path for path in copy.rglob("*") if path.is_dir())):
        folder.chmod(0o755)
