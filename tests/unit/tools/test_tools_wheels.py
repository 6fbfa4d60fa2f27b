"""Wheels: installed into the cache by pip, held to our hashes, whatever the user's pip settings say."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.tools.machines import Machine
from todoctl.adapters.tools import wheels
from todoctl.adapters.tools.model import Absent, Step, Tool, UnavailableError
from todoctl.adapters.tools.pins import WheelPin


@pytest.fixture
def parcel(machine: Machine) -> tuple[Machine, WheelPin]:
    """A machine whose pip finds one wheel, and its pin."""
    wheel, digest = machine.wheel()
    machine.cache.mkdir()
    pin = WheelPin(name="parcel", version="1.0", mib=1, seconds=1, hashes=(digest,))
    return machine.with_environ(PIP_FIND_LINKS=str(wheel.parent)), pin


def look(machine: Machine, pin: WheelPin) -> Tool | Absent:
    """The tool that lies in the wheel."""
    return wheels.look(machine.site, "tool", pin, version="1.0", inside="parcel/bin/parcel")


def fetch(machine: Machine, pin: WheelPin) -> list[Step]:
    """All steps of an installation."""
    return list(wheels.fetch(machine.site, "tool", pin, drop=("parcel/unused",)))


def test_a_wheel_becomes_a_tool_that_everybody_can_run(masked: None, parcel: tuple[Machine, WheelPin]) -> None:
    """Executable bits stay, unused parts go, nothing of the making is left."""
    machine, pin = parcel
    assert isinstance(look(machine, pin), Absent)
    steps = fetch(machine, pin)
    found = look(machine, pin)
    assert isinstance(found, Tool)
    assert (found.version, found.source) == ("1.0", "wheel")
    assert found.path.stat().st_mode & 0o777 == 0o755
    assert not (found.path.parents[1] / "unused").exists()
    assert not list(machine.cache.glob("tmp-*"))
    assert steps[0].phase == "download"
    assert steps[-1].phase == "verify"


def test_the_users_settings_do_not_move_it(parcel: tuple[Machine, WheelPin]) -> None:
    """Settings that choose another place or stop the installation are not for our cache."""
    machine, pin = parcel
    elsewhere = dict.fromkeys(("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PYTHONPATH"), "/nonexistent/elsewhere")
    refusals = dict.fromkeys(("PIP_USER", "PIP_DRY_RUN", "PIP_REQUIRE_VIRTUALENV"), "1")
    fetch(machine.with_environ(**elsewhere, **refusals, PIP_NO_BINARY=":all:"), pin)
    assert isinstance(look(machine, pin), Tool)


def test_a_wheel_with_another_hash_is_refused(parcel: tuple[Machine, WheelPin]) -> None:
    """The index may send what it likes; the pin decides."""
    machine, pin = parcel
    with pytest.raises(UnavailableError, match="does not have the pinned hash"):
        fetch(machine, pin.model_copy(update={"hashes": ("0" * 64,)}))
    assert isinstance(look(machine, pin), Absent)
    assert not list(machine.cache.glob("tmp-*"))


def test_without_an_index_the_wheel_and_the_folder_are_named(parcel: tuple[Machine, WheelPin]) -> None:
    """What is missing, and where a person could put it."""
    machine, pin = parcel
    with pytest.raises(UnavailableError) as caught:
        fetch(machine.with_environ(PIP_FIND_LINKS=str(machine.root)), pin)
    assert "wheel parcel 1.0: the package index can't be reached" in caught.value.reason
    assert str(machine.site.by_hand) in caught.value.reason
    assert caught.value.detail


def test_a_wheel_brought_by_hand_needs_no_index(parcel: tuple[Machine, WheelPin]) -> None:
    """The folder that the message names is looked into."""
    machine, pin = parcel
    machine.site.by_hand.mkdir()
    wheel = next((machine.root / "wheels").iterdir())
    wheel.rename(machine.site.by_hand / wheel.name)
    fetch(machine.with_environ(PIP_FIND_LINKS=str(machine.root)), pin)
    assert isinstance(look(machine, pin), Tool)


def test_a_damaged_wheel_installation_is_noticed_and_repaired(parcel: tuple[Machine, WheelPin]) -> None:
    """A cut-off program is not a tool; installing again mends it."""
    machine, pin = parcel
    fetch(machine, pin)
    found = look(machine, pin)
    assert isinstance(found, Tool)
    Path(found.path).write_text("cut")
    damaged = look(machine, pin)
    assert isinstance(damaged, Absent)
    assert "parcel/bin/parcel has 3 bytes in place of" in damaged.reason
    fetch(machine, pin)
    assert isinstance(look(machine, pin), Tool)
