"""What goes wrong with a platform of one's own, and that the next command says so and repairs it."""

from __future__ import annotations

import os
import signal
import socket
import time

import psutil

from tests.live.conftest import Platform, until


def test_up_repairs_what_kills_left(own_platform: Platform) -> None:
    """`up` killed half-way, supervisord killed, every process killed: the next `up` repairs each time."""
    first = own_platform.start("up", "--no-smoke")
    until(120, lambda: len(own_platform.processes()) > 4, "an up that is half-way")
    first.kill()
    first.communicate()
    own_platform.must("up")

    supervisor = next(process for process in own_platform.processes() if "supervisord" in " ".join(process.cmdline()))
    children = supervisor.children(recursive=True)
    supervisor.kill()
    psutil.wait_procs(children, timeout=20)
    own_platform.must("up")

    for process in own_platform.processes():
        process.kill()
    own_platform.must("up")
    assert own_platform.must("status", "-o", "json").json()["healthy"] is True

    own_platform.must("down")
    assert not own_platform.processes()
    again = own_platform.run("down")
    assert again.code == 0
    assert "nothing was running" in again.err


def test_a_taken_port_moves_and_is_told(own_platform: Platform) -> None:
    """A port that a stranger holds is left to him; a recorded one that he took moves, and `up` says so."""
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        own_platform.must("up", "--no-smoke")
        taken = stranger.getsockname()[1]
        assert own_platform.port("api") != taken
    port = own_platform.port("api")
    own_platform.must("down")
    with socket.create_server(("127.0.0.1", port), reuse_port=False):
        result = own_platform.must("up")
    assert "port of api was taken" in result.err
    assert own_platform.port("api") != port


def test_a_part_that_dies_is_named_with_its_log(platform: Platform) -> None:
    """A service whose code can't start ends `restart` with exit 3, its name, its last lines and the likely fix."""
    spec = platform.home / "local" / "etc" / "parts" / "recurring.json"
    broken = spec.read_text().replace("services.recurring", "services.nowhere")
    part = platform.parts()["recurring"]
    spec.write_text(broken)
    os.kill(part["pid"], signal.SIGKILL)
    try:
        until(60, lambda: platform.parts()["recurring"]["early_deaths"] >= 3, "a part that keeps dying")
        status = platform.run("status")
        assert status.code == 3
        assert "recurring" in status.err
        logs = platform.must("logs", "recurring").out
        assert "No module named services.nowhere" in logs
    finally:
        platform.must("up", "--no-smoke")
    assert platform.must("status", "-o", "json").json()["healthy"] is True


def test_two_ups_at_once_do_not_fight(platform: Platform) -> None:
    """Two `up` at the same time both end well."""
    started = [platform.start("up") for _ in range(2)]
    for process in started:
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err


def test_commands_without_a_platform_say_what_to_do(own_platform: Platform) -> None:
    """Commands that need a platform name `todoctl up` where there is none."""
    for command in ("status", "smoke", "doctor", "open", "restart api", "db status"):
        result = own_platform.run(*command.split())
        assert result.code == 3, (command, result)
        assert "todoctl up" in result.err
    assert own_platform.run("logs").code == 3
    assert own_platform.run("down").code == 0


def test_interrupting_up_stops_what_it_started(own_platform: Platform) -> None:
    """Ctrl-C during `up` ends with 130 and leaves no process."""
    process = own_platform.start("up", "--no-smoke")
    until(120, lambda: len(own_platform.processes()) > 4, "an up that is half-way")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    deadline = time.monotonic() + 10
    until(max(0.1, deadline - time.monotonic()), lambda: not own_platform.processes(), "no process left")
