"""What git says of the folder that todoctl's sources lie in."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path


def commit(folder: Path, paths: Sequence[str]) -> str:
    """The commit that `folder` is at, with `-dirty` where any of the paths differs from it; "" where it is no checkout."""
    top = _git(folder, "rev-parse", "--show-toplevel")
    # An installed package may lie within somebody else's checkout.
    if top is None or Path(top) != folder.resolve():
        return ""
    found = _git(folder, "rev-parse", "--short=12", "HEAD")
    if not found:
        return ""
    changed = _git(folder, "status", "--porcelain", "--", *paths)
    return found if changed == "" else f"{found}-dirty"


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, errors="replace", check=False
        )
    except OSError:
        return None
    return None if done.returncode else done.stdout.strip()
