"""Sockets on the real platform: nothing is missed after a disconnect, a killed process or a silent topic."""

from __future__ import annotations

import json
import os
import queue
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import socketio

from tests.live.conftest import Platform, until
from tests.live.users import User, register

_PAGE = """
import { io } from "socket.io-client";
const [url, token] = process.argv.slice(2);
let cursor = 0;
const say = (event, message) => console.log(JSON.stringify([event, message ?? null]));
const socket = io(url, { auth: (send) => send({ token, cursor }) });
socket.on("connect", () => say("connect", { recovered: cursor }));
socket.on("connect_error", (error) => say("connect_error", { message: error.message }));
socket.on("disconnect", (reason) => say("disconnect", reason));
for (const event of ["sync.ready", "sync.closing", "task.resync"]) socket.on(event, (message) => say(event, message));
socket.on("task.sync", (message) => { cursor = message.user_seq; say("task.sync", message); });
process.stdin.resume();
process.stdin.on("end", () => socket.close());
"""


class Page:
    """A client that keeps its cursor and connects again by itself, as a page does."""

    def __init__(self, platform: Platform, user: User) -> None:
        self.numbers: list[int] = []
        self.messages: queue.Queue[tuple[str, Any]] = queue.Queue()
        options = {"suppress_origin": True}
        self._client = socketio.Client(reconnection_delay_max=1, websocket_extra_options=options)
        self._client.on("*", self._take)
        self._url, self._token = platform.url("sync"), user.token

    def connect(self) -> None:
        """Connect from the last number seen on."""
        self._client.connect(self._url, auth=self._auth, transports=["websocket"])

    def disconnect(self) -> None:
        """Go away."""
        self._client.disconnect()

    def has(self, *numbers: int, seconds: float = 30) -> None:
        """Wait until exactly these numbers have come, in this order."""
        until(seconds, lambda: len(self.numbers) >= len(numbers), f"{numbers}, seen {self.numbers}")
        assert self.numbers == list(numbers)

    def _auth(self) -> dict[str, Any]:
        return {"token": self._token, "cursor": max(self.numbers, default=0)}

    def _take(self, event: str, message: Any = None) -> None:
        if event == "task.sync":
            self.numbers.append(message["user_seq"])
        self.messages.put((event, message))


@pytest.fixture
def user(platform: Platform) -> Iterator[User]:
    """A new user."""
    with register(platform) as made:
        yield made


@pytest.fixture
def page(platform: Platform, user: User) -> Iterator[Page]:
    """The user's page, connected."""
    made = Page(platform, user)
    made.connect()
    yield made
    made.disconnect()


def test_a_page_gets_what_it_missed(page: Page, user: User) -> None:
    """Live while connected, from the cursor on after a disconnect."""
    first = user.create(title="first")
    page.has(1)
    page.disconnect()
    user.create(title="second")
    user.complete(first["id"])
    page.connect()
    page.has(1, 2, 3)
    user.create(title="third")
    page.has(1, 2, 3, 4)


@pytest.mark.parametrize("victims", [["sync"], ["sync-daprd"], ["sync", "sync-daprd"], ["kafka"]], ids="+".join)
def test_a_page_survives_a_kill(platform: Platform, page: Page, user: User, victims: list[str]) -> None:
    """Writes go on meanwhile; each number comes once, in order, and live again afterwards."""
    user.create(title="before")
    page.has(1)
    for name in victims:
        os.kill(platform.parts()[name]["pid"], signal.SIGKILL)
    for number in range(5):
        user.create(title=f"during {number}")
    page.has(*range(1, 7), seconds=60)
    user.create(title="after")
    page.has(*range(1, 8), seconds=60)
    until(60, lambda: platform.run("status", "-o", "json").json()["healthy"], "a healthy platform")


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not on PATH")
def test_the_real_javascript_client(platform: Platform, user: User, tmp_path: Path) -> None:
    """The client from npm with its defaults: live, and again by itself after a restart of sync, nothing missed."""
    (tmp_path / "package.json").write_text('{"private": true, "type": "module"}')
    (tmp_path / "page.mjs").write_text(_PAGE)
    subprocess.run(["npm", "install", "--no-audit", "--no-fund", "socket.io-client"], cwd=tmp_path, check=True)
    command = ["node", "page.mjs", platform.url("sync"), user.token]
    with subprocess.Popen(command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as node:
        said: list[list[Any]] = []
        reader = threading.Thread(target=lambda: said.extend(json.loads(line) for line in node.stdout or ()))
        reader.start()
        try:
            until(30, lambda: ["sync.ready", {"cursor": 0}] in said, f"ready: {said}")
            task = user.create(title="from elsewhere")
            until(30, lambda: _numbers(said) == [1], f"the first change: {said}")
            platform.must("restart", "sync")
            user.complete(task["id"])
            until(30, lambda: _numbers(said) == [1, 2], f"the second change: {said}")
        finally:
            node.communicate(timeout=20)
            reader.join(20)
    assert ["sync.closing", {"reason": "restarting"}] in said
    told = [message for event, message in said if event == "task.sync"]
    assert [message["task"]["title"] for message in told] == ["from elsewhere"] * 2
    assert told[-1]["task"]["status"] == "completed"


def test_metrics_tell_of_sockets(platform: Platform, page: Page, user: User) -> None:
    """Connections, messages, and the time from commit to message."""
    user.create(title="one")
    page.has(1)
    text = page_metrics(platform)
    assert "sync_connections 1.0" in text
    assert 'sync_emitted_total{source="live"}' in text
    assert "sync_lag_seconds_bucket" in text


def page_metrics(platform: Platform) -> str:
    """What sync tells of itself."""
    import httpx

    return httpx.get(f"{platform.url('sync')}/metrics", trust_env=False).text


def _numbers(said: list[list[Any]]) -> list[int]:
    return [message["user_seq"] for event, message in said if event == "task.sync"]
