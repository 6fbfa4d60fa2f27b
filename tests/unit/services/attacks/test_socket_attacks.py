"""Attacks 14 and 31 to 34: sockets of strangers, of other pages, without end, and packets that are none."""

from __future__ import annotations

import io
import json
import logging
import random
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection, connect

from services.common import logs
from tests.unit.services.attacks.forgery import Forge
from tests.unit.services.records import origin_headers, record, single_body, task
from tests.unit.services.stand import ORIGIN, SIDECAR, Stand, until
from todoctl.core.events import TaskChange

PATH = "/socket.io/?EIO=4&transport=websocket"


@contextmanager
def opened(
    target: Stand, *, token: Any = None, origin: str | None = None, path: str = PATH, **auth: Any
) -> Iterator[ClientConnection]:
    """A socket, logged in where there is a token."""
    address = f"ws://127.0.0.1:{target.ports['sync']}{path}"
    with connect(address, origin=origin, max_size=None, open_timeout=20, close_timeout=1) as link:
        link.recv(timeout=10)
        if token is not None:
            link.send("40" + json.dumps({"token": token, **auth}))
        yield link


def told(link: ClientConnection, *, seconds: float = 10) -> list[str]:
    """All messages until the connection ends or falls silent."""
    found = []
    with suppress(ConnectionClosed, TimeoutError):
        while True:
            found.append(str(link.recv(timeout=seconds)))
    return found


def until_told(link: ClientConnection, start: str, *, seconds: float = 15) -> str:
    """The next message that begins so."""
    deadline = time.monotonic() + seconds
    while not (message := str(link.recv(timeout=max(0.1, deadline - time.monotonic())))).startswith(start):
        if message == "2":
            link.send("3")
    return message


def deliver(target: Stand, user_id: int, number: int) -> None:
    """An update from the topic, as daprd delivers it."""
    change = TaskChange(task=task(id=number, user_id=user_id, title="of somebody else"), changed=("status",))
    value = record("task-updates", user_id=user_id, user_seq=number, payload=change)
    headers = SIDECAR | origin_headers("task-updates", offset=number)
    body = single_body(value, "task-updates")
    answer = target.http.post(target.url("sync", "/events/task-updates"), content=body, headers=headers)
    assert answer.json() == {"status": "SUCCESS"}


def test_attack_14_rooms_of_others(target: Stand) -> None:
    """No message of a client brings it into another user's room; a cursor beyond its own changes is a resync."""
    theirs = Forge.of(target, "t14-owner").user_id
    made = target.create(user="t14-owner", title="of somebody else")
    room = f"user-{theirs}"
    with opened(target, token=target.token("t14-thief"), cursor=10**15, user_id=theirs, room=room) as link:
        until_told(link, '42["task.resync",{"cursor":0}]')
        until_told(link, '42["sync.ready"')
        for name in ("join", "enter_room", "subscribe", "connect", "token.refresh", "task.sync"):
            link.send("42" + json.dumps([name, {"room": room, "user_id": theirs, "token": target.token("t14-owner")}]))
        deliver(target, theirs, made["id"])
        assert not [message for message in told(link, seconds=2) if "somebody else" in message]
    for cursor in (-1, "0", 1.5, 2**63, [0], True):
        with opened(target, token=target.token("t14-thief"), cursor=cursor) as link:
            assert "invalid_cursor" in until_told(link, "44")


def test_attack_31_other_pages(target: Stand) -> None:
    """A page of another origin is refused before the upgrade; one without an origin is no page and needs a token."""
    for origin in (
        "http://evil.example",
        "null",
        f"{ORIGIN}.evil.example",
        "https://page.example",
        "http://PAGE.example:1",
    ):
        with pytest.raises(InvalidStatus) as caught, opened(target, origin=origin):
            pass
        assert caught.value.response.status_code in {400, 403}, origin
    with opened(target, origin=ORIGIN, token=target.token("t31")) as link:
        until_told(link, "40")
    with opened(target) as link:
        link.send("40")
        assert "invalid_token" in until_told(link, "44")


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """What a service writes to its log, told to write as much as it can."""
    stream = io.StringIO()
    loggers = [logging.getLogger(name) for name in ("", "httpx", "httpcore", "sqlalchemy", "uvicorn")]
    kept, levels = loggers[0].handlers[:], [logger.level for logger in loggers]
    logs.configure("sync", "debug", stream)
    yield stream
    loggers[0].handlers[:] = kept
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def test_attack_32_tokens_of_sockets(target: Stand, lines: io.StringIO) -> None:
    """Only a good token in the connect message counts, it stands in no log, and the socket ends with it."""
    token = target.token("t32")
    for given in (None, "", "a.b.c", token[:-2], token + "AA", 7, [token], {"token": token}, "x" * 9000):
        with opened(target) as link:
            link.send("40" + json.dumps({"token": given}))
            assert "invalid_token" in until_told(link, "44"), str(given)[:40]
    for place in (f"&token={token}", f"&auth={token}", f"&access_token={token}"):
        with opened(target, path=PATH + place) as link:
            link.send("40")
            assert "invalid_token" in until_told(link, "44")
    now = int(time.time())
    short = Forge.of(target, "t32").token({"exp": now + 3})
    with opened(target, token=short) as link:
        until_told(link, "40")
        assert "token_expired" in until_told(link, '42["sync.closing"')
        assert 0 <= time.time() - (now + 3) <= 5
        told(link, seconds=5)
    assert "disconnected" in lines.getvalue()
    # The client that this test uses has a log of its own.
    told_by = [json.loads(line)["logger"] for line in lines.getvalue().splitlines() if token in line or short in line]
    assert set(told_by) <= {"websockets.client"}


def test_attack_33_socket_floods(target: Stand) -> None:
    """Too many messages, one too large, too many sockets or namespaces end the connection, and no other one."""
    with opened(target, token=target.token("t33-other")) as other:
        until_told(other, '42["sync.ready"')
        with opened(target, token=target.token("t33")) as link:
            with suppress(ConnectionClosed):
                for number in range(1000):
                    link.send(f'42["noise",{number}]')
            told(link, seconds=5)
            assert _code(link) == 1008
        with opened(target, token=target.token("t33")) as link:
            with suppress(ConnectionClosed):
                link.send('42["noise","' + "x" * 10_000_000 + '"]')
            told(link, seconds=5)
            assert _code(link) in {1009, 1006}
        with opened(target, token=target.token("t33")) as link:
            with suppress(ConnectionClosed):
                for number in range(500):
                    link.send(f"40/room-{number}," + json.dumps({"token": target.token("t33")}))
            assert not [message for message in told(link, seconds=5) if message.startswith("40/")]
        _many_sockets(target)
        # The other user still gets what is theirs.
        target.create(user="t33-other")
        # Live or by comparing with api, within seconds.
        until_told(other, '42["task.sync"')
    assert target.http.get(target.url("sync", "/healthz")).status_code == 200


def _code(link: ClientConnection) -> int:
    until(lambda: link.close_code is not None)
    return int(link.close_code or 0)


def _many_sockets(target: Stand) -> None:
    with ExitStack() as stack:
        answers = []
        for _ in range(40):
            link = stack.enter_context(opened(target, token=target.token("t33-many")))
            answers.append(until_told(link, "4")[:2])
        assert (answers.count("40"), answers.count("44")) == (20, 20)


def test_attack_34_broken_packets(target: Stand, pytestconfig: pytest.Config, caplog: pytest.LogCaptureFixture) -> None:
    """Binary placeholders, pickles and any other bytes end a connection at most; nothing hangs, no traceback.

    `--attack-packets 100000` sends more.
    """
    seed = random.SystemRandom().randrange(2**32)
    chance, sent = random.Random(seed), 0
    while sent < pytestconfig.option.attack_packets:
        with suppress(WebSocketException, OSError, TimeoutError), opened(target, token=target.token("t34")) as link:
            # As many as the rate allows at once.
            for _ in range(19):
                link.send(_packet(chance))
                sent += 1
        sent += 1
    url = target.url("sync", "/socket.io/?EIO=4&transport=polling")
    for _ in range(100):
        body = "\x1e".join(str(_packet(chance)) for _ in range(5)).encode("utf-8", "ignore")
        assert target.http.post(f"{url}&sid=none", content=body).status_code in {400, 413, 429}
        sid = json.loads(target.http.get(url).text[1:])["sid"]
        assert target.http.post(f"{url}&sid={sid}", content=body).status_code in {200, 400, 413, 429}, seed
    _hanging(target)
    assert target.http.get(target.url("sync", "/healthz")).json() == {"status": "ok"}, seed
    assert not [entry for entry in caplog.records if entry.exc_info], seed
    until(lambda: _logs_in(target), seconds=60)


def _hanging(target: Stand) -> None:
    """Posts that made the library wait for a poll that never comes."""
    url = target.url("sync", "/socket.io/?EIO=4&transport=polling")
    for body in (
        b"2",
        b"0",
        b"6",
        b"x",
        b"",
        b"\x1e".join([b"3"] * 17),
        b"d=4",
        b"4",
        b"40{",
        b"451-[]",
        b"\xff",
        b"4[" * 2000,
    ):
        sid = json.loads(target.http.get(url).text[1:])["sid"]
        assert target.http.post(f"{url}&sid={sid}", content=body).status_code == 400, body[:20]


def _logs_in(target: Stand) -> bool:
    with opened(target, token=target.token("t34")) as link:
        return until_told(link, "4").startswith("40")


_SEEDS = (
    '451-["x",{"_placeholder":true,"num":0}]',
    '459999999999-["x",{"_placeholder":true,"num":99999999}]',
    '42["token.refresh",{"token":{"_placeholder":true,"num":-1}}]',
    '42["__proto__",{"__class__":"os.system"}]',
    "42cos\nsystem\n(S'id'\ntR.",
    "bgASVCgAAAAAAAACMBHg=",
    '40/admin,{"token":"x"}',
    "4" * 5000,
    '42["' + "[" * 3000,
    "41",
    "42999999999999999999999[]",
    "43-1[]",
    "6",
    "5",
    "2probe",
    "",
    "4",
    "40{",
    "\ud7ff\x00\x1e\x1e",
)


def _packet(chance: random.Random) -> str | bytes:
    """A packet made wrong in one of many ways."""
    seed = chance.choice(_SEEDS)
    match chance.randrange(4):
        case 0:
            return seed
        case 1:
            return bytes(chance.randrange(256) for _ in range(chance.randrange(60)))
        case 2:
            return "".join(chr(chance.randrange(32, 0x2FFF)) for _ in range(chance.randrange(60)))
        case _:
            at = chance.randrange(len(seed) + 1)
            return seed[:at] + chr(chance.randrange(256)) + seed[at + chance.randrange(3) :]
