"""Dapr's release archive: verified, and given up soon where its host can't be reached."""

from __future__ import annotations

import hashlib
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.tools.machines import Machine, archived
from todoctl.adapters.tools import dapr_found, dapr_release, https
from todoctl.adapters.tools.model import Absent, Step, Tool, UnavailableError

MARKS = "\n# ".join(dapr_found.MARKS["daprd"])
PROGRAM = f"#!/bin/sh\necho 1.16.19\n# {MARKS}\n".encode()


@pytest.fixture
def released(machine: Machine, serve: Callable[[Path], str]) -> Machine:
    """A machine that reaches a release host with an archive of daprd and its checksum."""
    folder = machine.root / "served" / f"v{machine.pins.dapr.release}"
    folder.mkdir(parents=True)
    _put(folder, archived("daprd", PROGRAM))
    machine.cache.mkdir()
    return machine.with_pins("dapr", url=serve(folder.parent))


def _put(folder: Path, content: bytes, checksum: str | None = None) -> Path:
    packed = folder / dapr_release.archive("daprd")
    packed.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest() if checksum is None else checksum
    packed.with_name(f"{packed.name}.sha256").write_text(f"{digest}  {packed.name}\n")
    return packed


def fetch(machine: Machine) -> list[Step]:
    """All steps of an installation."""
    return list(dapr_release.fetch(machine.site, "daprd"))


def test_the_program_comes_out_of_the_archive(released: Machine) -> None:
    """Downloaded, verified against the published checksum, executable."""
    assert [step.phase for step in fetch(released)] == ["reach", "download", "unpack"]
    found = dapr_release.look(released.site, "daprd")
    assert isinstance(found, Tool)
    assert (found.version, found.source) == (released.pins.dapr.release, "release")
    assert found.path.read_bytes() == PROGRAM
    assert found.path.stat().st_mode & 0o777 == 0o755


def _other_checksum(machine: Machine) -> Machine:
    _put(machine.root / "served" / f"v{machine.pins.dapr.release}", archived("daprd", PROGRAM), "0" * 64)
    return machine


def _no_checksum(machine: Machine) -> Machine:
    _put(machine.root / "served" / f"v{machine.pins.dapr.release}", archived("daprd", PROGRAM), "Not Found")
    return machine


def _pinned_otherwise(machine: Machine) -> Machine:
    return machine.with_pins("dapr", sha256={dapr_release.archive("daprd"): "1" * 64})


def _no_such_release(machine: Machine) -> Machine:
    return machine.with_pins("dapr", release="1.16.99")


def _no_archive(machine: Machine) -> Machine:
    _put(machine.root / "served" / f"v{machine.pins.dapr.release}", b"<html>please log in</html>")
    return machine


def _another_program(machine: Machine) -> Machine:
    _put(machine.root / "served" / f"v{machine.pins.dapr.release}", archived("sentry", PROGRAM))
    return machine


def _fewer_components(machine: Machine) -> Machine:
    program = PROGRAM.replace(b"nameresolution/sqlite", b"nameresolution/nothing")
    _put(machine.root / "served" / f"v{machine.pins.dapr.release}", archived("daprd", program))
    return machine


def _unreachable(machine: Machine) -> Machine:
    return machine.with_pins("dapr", url="http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_other_checksum, "does not have the hash 0000"),
        (_no_checksum, "holds no checksum"),
        (_pinned_otherwise, "does not have the hash 1111"),
        (_no_such_release, "the host answers 404"),
        (_no_archive, "is not a readable archive"),
        (_another_program, "has no daprd in it"),
        (_fewer_components, "lacks nameresolution/sqlite"),
        (_unreachable, "the release host 127.0.0.1 can't be reached"),
    ],
)
def test_what_is_not_as_published_is_not_installed(
    released: Machine, spoil: Callable[[Machine], Machine], reason: str
) -> None:
    """Each reason is said, and nothing that looks installed is left."""
    spoiled = spoil(released)
    with pytest.raises(UnavailableError) as caught:
        fetch(spoiled)
    assert reason in caught.value.reason
    assert isinstance(dapr_release.look(spoiled.site, "daprd"), Absent)
    assert not list(spoiled.cache.glob("tmp-*"))


def test_an_archive_brought_by_hand_needs_no_network(machine: Machine) -> None:
    """With its checksum file beside it."""
    machine.site.by_hand.mkdir(parents=True)
    _put(machine.site.by_hand, archived("daprd", PROGRAM))
    fetch(machine)
    assert isinstance(dapr_release.look(machine.site, "daprd"), Tool)


def test_a_host_that_does_not_answer_costs_no_more_than_the_limit(machine: Machine) -> None:
    """A full backlog drops connections as a firewall does; that is noticed within the limit."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        address = server.getsockname()
        # One connection fills the backlog of 0; on Linux a second one may still fit.
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        before = time.monotonic()
        with pytest.raises(UnavailableError, match="can't be reached"):
            https.reach(machine.site, f"http://127.0.0.1:{address[1]}/", seconds=0.3)
        assert time.monotonic() - before < 20
        for filler in fillers:
            filler.close()


def test_behind_a_proxy_the_host_is_not_tried_directly(machine: Machine) -> None:
    """Only the proxy knows whether it reaches the host."""
    https.reach(machine.with_environ(HTTPS_PROXY="http://127.0.0.1:9").site, "http://127.0.0.1:9/")
