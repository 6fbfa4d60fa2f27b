"""The mails that the sink in the cluster keeps, copied to this machine."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from todoctl.adapters.kube.streams import Streams
from todoctl.errors import TodoctlError

_FOLDER = "/mails"  # where the chart has the sink keep them
# Runs in the sink's pod: every name that is kept, with the content of those behind the argument. Names begin with a time.
_PROGRAM = f"""
import base64, json, pathlib, sys
for path in sorted(pathlib.Path("{_FOLDER}").glob("*.eml")):
    content = base64.b64encode(path.read_bytes()).decode() if path.name > sys.argv[1] else None
    print(json.dumps([path.name, content]))
"""


def copy(streams: Streams, namespace: str, pod: str, folder: Path) -> None:
    """Make the folder hold just what the sink keeps.

    Raises:
        TodoctlError: the sink could not be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    there = {path.name: path for path in folder.glob("*.eml")}
    said = streams.run(namespace, pod, "mailsink", ["python", "-c", _PROGRAM, max(there, default="")])
    kept = set()
    for line in said.splitlines():
        try:
            name, content = json.loads(line)
            raw = None if content is None else base64.b64decode(content, validate=True)
        except (ValueError, TypeError) as error:
            raise TodoctlError("the mail sink did not tell its mails", hint="todoctl logs mailsink") from error
        # A name from elsewhere is a name, never a path.
        if Path(name).name != name or not name.endswith(".eml"):
            continue
        kept.add(name)
        if raw is not None:
            draft = folder / f".{name}.new"
            draft.write_bytes(raw)
            draft.replace(folder / name)
    for name, path in there.items():
        if name not in kept:
            path.unlink(missing_ok=True)
