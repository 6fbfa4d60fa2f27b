"""Helm as the tests use it, on a chart folder."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from todoctl.operations import tools
from todoctl.settings import load

# A helm that was built without its release flags takes 1.20 for granted.
KUBERNETES = "1.34.0"

Object = dict[str, Any]


@dataclass(frozen=True)
class Chart:
    """A chart folder and the helm that renders it."""

    helm: Path
    folder: Path
    rendered: dict[str, str] = field(default_factory=dict, compare=False, repr=False)

    def run(self, *arguments: str, environ: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """Helm, finished."""
        return subprocess.run(
            [self.helm, *arguments],
            env=environ or os.environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def template(
        self, *overlays: str | Path, values: Mapping[str, Any] | None = None, namespace: str = "todo-app-test"
    ) -> subprocess.CompletedProcess[str]:
        """`helm template` with overlays of the chart by name, and more values on top."""
        files = [self.folder / overlay for overlay in overlays]
        with tempfile.TemporaryDirectory() as folder:
            if values:
                extra = Path(folder) / "extra.yaml"
                extra.write_text(yaml.safe_dump(dict(values)))
                files.append(extra)
            given = [argument for file in files for argument in ("--values", str(file))]
            return self.run(
                "template", "todo", str(self.folder), "--kube-version", KUBERNETES, "--namespace", namespace, *given
            )

    def render(self, *overlays: str | Path, values: Mapping[str, Any] | None = None) -> list[Object]:
        """The objects that the chart makes, the caller's own; fails the test where Helm refuses."""
        key = json.dumps([[str(overlay) for overlay in overlays], values or {}])
        if key not in self.rendered:
            done = self.template(*overlays, values=values)
            assert done.returncode == 0, done.stderr
            # The parser in C: the one in Python takes longer than Helm.
            documents = yaml.load_all(done.stdout, Loader=yaml.CSafeLoader)
            self.rendered[key] = json.dumps([document for document in documents if document])
        return list(json.loads(self.rendered[key]))


def nested(path: str, value: Any) -> dict[str, Any]:
    """`{"a": {"b": value}}` for "a.b"."""
    for name in reversed(path.split(".")):
        value = {name: value}
    return dict(value)


def merged(*documents: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings joined key by key, later ones on top."""
    found: dict[str, Any] = {}
    for document in documents:
        for key, value in document.items():
            both = isinstance(value, Mapping) and isinstance(found.get(key), Mapping)
            found[key] = merged(found[key], value) if both else value
    return found


@cache
def helm() -> Path:
    """The helm that todoctl uses: on PATH, in the cache that all checkouts share, or built into it.

    Raises:
        MissingError: it can't be had; a machine without it can't tell whether the chart is right.
    """
    *_, last = tools.install("helm", load(os.environ, cwd=Path("/")).cache, environ=os.environ)
    assert last.result
    return last.result.path
