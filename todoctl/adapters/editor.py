"""A person's own text editor."""

from __future__ import annotations

import shlex
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from todoctl.errors import MissingError, TodoctlError


def edit(text: str, *, environ: Mapping[str, str], name: str) -> str:
    """The text as the person left it, in a file whose name ends with `name`.

    Raises:
        MissingError: there is no such editor. TodoctlError: it ended with an error.
    """
    command = shlex.split(environ.get("VISUAL") or environ.get("EDITOR") or "vi")
    with tempfile.TemporaryDirectory(prefix="todoctl-") as folder:
        path = Path(folder) / name
        path.write_text(text, encoding="utf-8")
        try:
            ended = subprocess.run([*command, str(path)], check=False)
        except FileNotFoundError as error:
            raise MissingError(f"there is no editor {command[0]!r}", hint="export EDITOR=nano") from error
        if ended.returncode:
            raise TodoctlError(f"the editor {command[0]} ended with {ended.returncode}; nothing was planned")
        return path.read_text(encoding="utf-8")
