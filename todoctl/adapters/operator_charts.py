"""Charts of operators on disk: found in a folder, an archive or a bundle of several, and what is in them."""

from __future__ import annotations

import hashlib
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from todoctl.errors import UsageError

Document = dict[str, Any]
_FILE = "Chart.yaml"
_PACKED = (".tgz", ".tar.gz", ".tar")


@dataclass(frozen=True)
class ChartFolder:
    """An unpacked chart."""

    path: Path

    @cached_property
    def about(self) -> Document:
        """Its Chart.yaml.

        Raises:
            UsageError: there is none, or it can't be read.
        """
        try:
            found = yaml.safe_load((self.path / _FILE).read_text(encoding="utf-8"))
            return {**found, "name": str(found["name"]), "version": str(found["version"])}
        except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError) as error:
            raise UsageError(f"{self.path} is no chart: {error}", hint="helm show chart FOLDER") from error

    def definitions(self) -> tuple[Document, ...]:
        """The resource definitions of the chart and its subcharts, which Helm would never upgrade.

        Raises:
            UsageError: one can't be read.
        """
        found = []
        files = [path for folder in self.path.rglob("crds") if folder.is_dir() for path in folder.glob("**/*.y*ml")]
        for file in sorted(set(files)):
            try:
                documents = list(yaml.safe_load_all(file.read_text(encoding="utf-8")))
            except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
                raise UsageError(f"{file} can't be read: {error}", hint="fetch the chart again") from error
            wanted = [item for item in documents if isinstance(item, dict)]
            found += [item for item in wanted if item.get("kind") == "CustomResourceDefinition"]
        return tuple(found)

    def digest(self) -> str:
        """A short hash of everything in the chart."""
        total = hashlib.sha256()
        for file in sorted(path for path in self.path.rglob("*") if path.is_file()):
            total.update(f"{file.relative_to(self.path)}\0".encode() + file.read_bytes() + b"\0")
        return total.hexdigest()[:12]


@contextmanager
def from_chart(place: Path) -> Iterator[ChartFolder]:
    """The chart in a folder, or unpacked from its archive for the length of a block.

    Raises:
        UsageError: there is none.
    """
    if place.is_dir():
        folder = ChartFolder(place.resolve())
        _ = folder.about
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="todoctl-chart-") as unpacked:
        _unpack(place, Path(unpacked))
        inside = [path.parent for path in Path(unpacked).glob(f"*/{_FILE}")]
        if len(inside) != 1:
            raise UsageError(f"{place} is no archive of one chart", hint="--bundle is for several")
        yield ChartFolder(inside[0])


@contextmanager
def from_bundle(place: Path, name: str, version: str) -> Iterator[ChartFolder]:
    """The chart of this name in a folder or archive that holds several, packed or not; of several the given version.

    Raises:
        UsageError: there is none, or several and none of that version.
    """
    with tempfile.TemporaryDirectory(prefix="todoctl-bundle-") as unpacked:
        root = place
        if not place.is_dir():
            root = Path(unpacked) / "bundle"
            _unpack(place, root)
        charts = list(_charts(root, name, Path(unpacked)))
        exact = [chart for chart in charts if chart.about["version"] == version]
        chosen = exact or charts
        if len(chosen) != 1:
            there = ", ".join(sorted(chart.about["version"] for chart in charts)) or "none"
            raise UsageError(
                f"{place} should have the chart {name} {version}; of this name there are: {there}",
                hint=f"put {name}-{version}.tgz into it, or name a chart with --chart",
            )
        yield chosen[0]


def _charts(root: Path, name: str, scratch: Path) -> Iterator[ChartFolder]:
    """The charts of this name up to two folders deep, archives unpacked."""
    for packed in sorted(path for path in root.glob("**/*") if path.name.endswith(_PACKED)):
        if packed.name.startswith(f"{name}-"):
            target = scratch / packed.name
            _unpack(packed, target)
            yield from (ChartFolder(file.parent) for file in target.glob(f"*/{_FILE}"))
    folders = [file.parent for depth in ("", "*/", "*/*/") for file in root.glob(f"{depth}{_FILE}")]
    # A subchart is no chart of its own.
    yield from (
        chart
        for chart in map(ChartFolder, folders)
        if chart.about["name"] == name and chart.path.parent.name != "charts"
    )


def _unpack(packed: Path, target: Path) -> None:
    try:
        with tarfile.open(packed) as archive:
            archive.extractall(target, filter="data")
    except FileNotFoundError as error:
        raise UsageError(f"there is no {packed}", hint="name a folder or an archive") from error
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise UsageError(f"{packed} is no readable archive: {error}", hint="fetch it again") from error
