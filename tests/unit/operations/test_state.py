"""What an environment remembers: ports that nobody else uses, secrets that stay, and one command at a time."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.operations.conftest import settings_in
from tests.unit.sites import chart_values, document
from todoctl.core.parts import roles
from todoctl.core.ports import default_ports
from todoctl.core.values import Values
from todoctl.errors import MissingError, TodoctlError, UnhealthyError, WaitTimeoutError
from todoctl.operations.local import state
from todoctl.settings import Settings

VALUES = chart_values()

# Another command that works on the environment: it holds the lock until it is ended.
HOLDER = """
import sys
from pathlib import Path
from todoctl.operations.local import state
from todoctl.settings import BUILT_IN, Settings
home = Path(sys.argv[1])
with state.lock(Settings("local", BUILT_IN["local"], home, home, home), "up", seconds=5):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that a stranger listens on, with a free one above it."""
    while True:
        stranger = socket.create_server(("127.0.0.1", 0))
        port = stranger.getsockname()[1]
        with stranger, socket.socket() as above:
            if above.connect_ex(("127.0.0.1", port + 1)) and port < 65_000:
                yield port
                return


@pytest.fixture
def holder(settings: Settings) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the environment's lock."""
    command = [sys.executable, "-c", HOLDER, str(settings.home)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_wanted_ports_are_taken_when_they_are_free(taken: int) -> None:
    """A free port is the one that was asked for; one that a stranger has is replaced by the next free one."""
    chosen, moved = state.choose_ports({"a": taken}, {}, taken=set(), keep=False)
    assert chosen["a"] > taken
    assert moved == []
    assert state.choose_ports({"a": chosen["a"]}, {}, taken=set(), keep=False) == (chosen, [])


def test_recorded_ports_stay(taken: int) -> None:
    """Once chosen a port stays, whatever is wanted now."""
    recorded, _ = state.choose_ports({"a": taken}, {}, taken=set(), keep=False)
    assert state.choose_ports({"a": 8000}, recorded, taken=set(), keep=False) == (recorded, [])


def test_a_recorded_port_that_a_stranger_took_moves(taken: int) -> None:
    """It is replaced and told; while our own parts run on it, it stays."""
    chosen, moved = state.choose_ports({"a": taken}, {"a": taken}, taken=set(), keep=False)
    assert (chosen["a"] != taken, moved) == (True, ["a"])
    assert state.choose_ports({"a": taken}, {"a": taken}, taken=set(), keep=True) == ({"a": taken}, [])


def test_ports_of_other_homes_are_left_alone(taken: int) -> None:
    """A port that another environment chose is not chosen, also while it does not run."""
    first, _ = state.choose_ports({"a": taken}, {}, taken=set(), keep=False)
    second, _ = state.choose_ports({"a": taken}, {}, taken={first["a"]}, keep=False)
    assert second["a"] not in {taken, first["a"]}


def test_names_that_want_the_same_port_get_two(taken: int) -> None:
    """Also a name that comes later does not get what an earlier one recorded."""
    chosen, _ = state.choose_ports({"a": taken, "b": taken, "c": taken}, {}, taken=set(), keep=False)
    assert len(set(chosen.values())) == 3
    again, _ = state.choose_ports({"new": chosen["b"], **dict.fromkeys("abc", taken)}, chosen, taken=set(), keep=False)
    assert again["new"] not in chosen.values()
    assert {name: again[name] for name in "abc"} == chosen


def test_the_end_of_the_range_wraps() -> None:
    """Near the last port others are found below."""
    chosen, _ = state.choose_ports({"a": 65_535}, {}, taken={65_535}, keep=False)
    assert 20_000 <= chosen["a"] < 65_535


def test_a_part_that_is_gone_frees_its_port() -> None:
    """Only what is wanted now is recorded."""
    assert state.choose_ports({}, {"gone": 8000}, taken=set(), keep=True) == ({}, [])


def test_what_was_prepared_is_loaded(settings: Settings) -> None:
    """Preparing makes folders, ports and secrets; loading gives the same; preparing again changes nothing."""
    assert not state.exists(settings)
    made, moved = state.prepare(settings, VALUES, keep_ports=False)
    assert moved == []
    assert state.exists(settings)
    assert state.load(settings, VALUES) == made
    assert state.prepare(settings, VALUES, keep_ports=False) == (made, [])
    assert set(made.ports) == set(default_ports(VALUES))


def test_secrets_are_private_strong_and_of_each_role(settings: Settings) -> None:
    """Only the owner reads them, each role and each token has its own, and none is short."""
    made, _ = state.prepare(settings, VALUES, keep_ports=False)
    path = settings.state / "secrets.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert set(made.secrets.passwords) == {"postgres", *roles(VALUES)}
    every = [
        *made.secrets.passwords.values(),
        made.secrets.app_token,
        made.secrets.dapr_token,
        made.secrets.service_token,
    ]
    assert len(set(every)) == len(every)
    assert min(map(len, every)) >= 32


def test_todoctl_has_an_account_that_nobody_else_can_have_registered(settings: Settings) -> None:
    """Random address and password, kept from one `up` to the next; an older environment gets them at its next one."""
    made, _ = state.prepare(settings, VALUES, keep_ports=False)
    login = made.secrets.operator
    assert login is not None
    assert re.fullmatch(r"operator-[0-9a-f]{16}@todoctl\.invalid", login.email)
    assert len(login.password) >= 32
    assert login.password not in repr(made)
    path = settings.state / "secrets.json"
    older = json.loads(path.read_text())
    del older["operator"]
    path.write_text(json.dumps(older))
    assert state.load(settings, VALUES).secrets.operator is None
    again, _ = state.prepare(settings, VALUES, keep_ports=False)
    assert again.secrets.operator not in {None, login}
    assert again.secrets.passwords == made.secrets.passwords


def test_private_folders_are_private(settings: Settings) -> None:
    """Specs and Dapr's files hold secrets: nobody else may list them; the server's user may pass to its data."""
    state.prepare(settings, VALUES, keep_ports=False)
    for folder in ("etc/parts", "etc/dapr"):
        assert (settings.state / folder).stat().st_mode & 0o077 == 0
    if os.geteuid() == 0:
        assert (settings.state / "data").stat().st_mode & 0o011 == 0o011


def test_a_new_service_gets_ports_and_a_password_and_the_others_keep_theirs(settings: Settings) -> None:
    """A chart that grows moves nothing that was there."""
    small = Values.model_validate(document(api={"port": 8000, "database": {"role": "api"}}))
    large = Values.model_validate(
        document(api={"port": 8000, "database": {"role": "api"}}, auth={"port": 8001, "database": {"role": "auth"}})
    )
    before, _ = state.prepare(settings, small, keep_ports=False)
    with pytest.raises(UnhealthyError, match="services that were never started here"):
        state.load(settings, large)
    after, moved = state.prepare(settings, large, keep_ports=False)
    assert moved == []
    assert {name: after.ports[name] for name in before.ports} == before.ports
    assert {role: after.secrets.passwords[role] for role in before.secrets.passwords} == before.secrets.passwords
    assert after.secrets.passwords["auth"]


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"ports": []}', '{"ports": {"api": "x"}}'])
def test_damaged_ports_are_chosen_anew(settings: Settings, content: str) -> None:
    """A state file that was cut short is made again; secrets stay, or the database could not be opened any more."""
    before, _ = state.prepare(settings, VALUES, keep_ports=False)
    (settings.state / "state.json").write_text(content)
    with pytest.raises(TodoctlError):
        state.load(settings, VALUES)
    after, _ = state.prepare(settings, VALUES, keep_ports=False)
    assert after.secrets == before.secrets
    assert state.load(settings, VALUES) == after


def test_homes_side_by_side_have_different_ports(roomy: Path) -> None:
    """Several homes that are prepared at the same time share no port."""
    homes = [settings_in(roomy, f"home-{number}") for number in range(4)]
    with ThreadPoolExecutor() as pool:
        made = list(pool.map(lambda settings: state.prepare(settings, VALUES, keep_ports=False)[0], homes))
    ports = [port for each in made for port in each.ports.values()]
    assert len(set(ports)) == len(ports)


def test_forgetting_frees_ports_and_data(roomy: Path) -> None:
    """After a purge another home may have the ports; doing it again is nothing."""
    first, second = settings_in(roomy, "first"), settings_in(roomy, "second")
    made, _ = state.prepare(first, VALUES, keep_ports=False)
    assert state.forget(first)
    assert not first.state.exists()
    assert not state.forget(first)
    assert str(first.state) not in json.loads((roomy / "cache" / "ports.json").read_text())
    assert state.prepare(second, VALUES, keep_ports=False)[0].ports == made.ports


def test_a_home_that_was_deleted_by_hand_frees_its_ports(roomy: Path) -> None:
    """The registry forgets environments whose folder is gone."""
    first, second = settings_in(roomy, "first"), settings_in(roomy, "second")
    made, _ = state.prepare(first, VALUES, keep_ports=False)
    shutil.rmtree(first.home)
    assert state.prepare(second, VALUES, keep_ports=False)[0].ports == made.ports


def test_a_home_that_cannot_be_made_is_said(settings: Settings) -> None:
    """Where no folder can be made the way out is named."""
    with (
        pytest.raises(MissingError, match="can't be made") as caught,
        state.lock(replace(settings, home=Path("/proc/nothing")), "up", seconds=1),
    ):
        pass
    assert "TODOCTL_HOME" in caught.value.hint


def test_a_lock_that_another_command_holds(settings: Settings, holder: subprocess.Popen[str]) -> None:
    """After the deadline the message names the command and its pid, and the exit code is 7."""
    with pytest.raises(WaitTimeoutError) as caught, state.lock(settings, "down", seconds=0.2):
        pass
    assert caught.value.message.startswith(f"todoctl up (pid {holder.pid}) has been working on the environment 'local'")
    assert caught.value.hint.endswith("run todoctl down again")


def test_a_killed_holder_frees_the_lock(settings: Settings, holder: subprocess.Popen[str]) -> None:
    """After kill -9 of the holder the next command gets the lock, and says who holds it now."""
    holder.send_signal(signal.SIGKILL)
    with state.lock(settings, "down", seconds=10):
        assert (settings.home / ".local.holder").read_text() == f"todoctl down (pid {os.getpid()})"


def test_a_command_that_fails_frees_the_lock(settings: Settings) -> None:
    """The lock is free after an error, and nobody is named as its holder."""
    with pytest.raises(ZeroDivisionError), state.lock(settings, "up", seconds=1):
        raise ZeroDivisionError
    assert not (settings.home / ".local.holder").exists()
    with state.lock(settings, "down", seconds=1):
        pass


def test_environments_have_locks_of_their_own(settings: Settings, holder: subprocess.Popen[str]) -> None:
    """A command on another environment of the same home does not wait."""
    with state.lock(replace(settings, name="second"), "up", seconds=0.2):
        pass


def test_addresses_are_those_of_the_public_services(settings: Settings) -> None:
    """What the smoke test and `open` talk to is where the ports say."""
    made, _ = state.prepare(settings, VALUES, keep_ports=False)
    assert state.addresses(made).api == f"http://127.0.0.1:{made.ports['api']}"
