"""Ports that outlive a command: held by a process of ours, found again, ended, and told about when they can't be had."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from todoctl.adapters.processes import identity
from todoctl.errors import TodoctlError, UnhealthyError
from todoctl.operations.minikube import access
from todoctl.settings import Environment, Settings

# Tells where the page is and stays, as `open --forward` does.
_HOLDS = "import os, signal; print('{\"page\": 1}', os.environ['TODOCTL_CONFIG'], flush=True); signal.pause()"
_FAILS = (
    "import sys; sys.exit('✗ the port 8000 of this machine can\\'t be used: Address already in use\\n  next: end it')"
)
_DUMB = "import signal; signal.pause()"


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    """An environment of a file; no process of it is left afterwards."""
    config = tmp_path / "todoctl.toml"
    config.touch()
    made = Environment(kind="minikube", context="m")
    found = Settings("mini", made, tmp_path, tmp_path, tmp_path, {"environments.mini": str(config)})
    yield found
    access.release(found)
    assert identity.survivors(found.state) == []


def test_a_process_holds_them_until_it_is_told_to_end(settings: Settings) -> None:
    """It works with the same file, and a second one takes the place of the first."""
    assert not access.is_held(settings)
    one = access.hold(settings, os.environ, [sys.executable, "-c", _HOLDS], seconds=20)
    (first,) = identity.survivors(settings.state)
    assert str(settings.home / "todoctl.toml") in (settings.state / "open.json").read_text()
    two = access.hold(settings, os.environ, [sys.executable, "-c", _HOLDS], seconds=20)
    (second,) = identity.survivors(settings.state)
    assert (first.pid, second.pid) == (one.pid, two.pid)
    assert access.release(settings)
    assert not access.is_held(settings)
    assert not access.release(settings)
    one.wait()
    two.wait()


def test_a_port_that_is_taken_is_said(settings: Settings) -> None:
    """In the words of the command that could not have it."""
    with pytest.raises(UnhealthyError, match="the port 8000 of this machine can't be used") as caught:
        access.hold(settings, os.environ, [sys.executable, "-c", _FAILS], seconds=20)
    assert caught.value.hint == "todoctl -e mini open --forward"
    assert not access.is_held(settings)


def test_one_that_says_nothing_is_ended(settings: Settings) -> None:
    """Nothing is left of it."""
    with pytest.raises(TodoctlError, match="no ports lead to the page"):
        access.hold(settings, os.environ, [sys.executable, "-c", _DUMB], seconds=0.3)
    assert not access.is_held(settings)


def test_the_command_is_one_that_todoctl_has(settings: Settings) -> None:
    """Of the environment's own name, and without a browser."""
    words = access.command(settings)
    assert words[1:5] == ["-m", "todoctl", "-e", "mini"]
    assert {"open", "--forward", "--no-browser"} < set(words)
