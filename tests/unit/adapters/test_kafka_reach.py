"""What is said of an address to which no connection is had."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from todoctl.adapters.kafka.reach import unreachable


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """A port of this machine that takes connections."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.mark.parametrize(
    ("address", "said"),
    [
        (
            ("nowhere.invalid", 9092),
            "broker 2, which advertises nowhere.invalid:9092, can't be reached: this machine does",
        ),
        (("127.0.0.1", 1), "broker 2, which advertises 127.0.0.1:1, can't be reached: the connection is refused"),
        (("::1", 1), "broker 2, which advertises [::1]:1, can't be reached: "),
        (("two..dots", 9092), "broker 2, which advertises two..dots:9092, can't be reached: "),
        (("127.0.0.1", 70_000), "broker 2, which advertises 127.0.0.1:70000, can't be reached: "),
    ],
)
def test_who_is_away_is_named_with_the_reason(listening: socket.socket, address: tuple[str, int], said: str) -> None:
    """And nobody else is."""
    [line] = unreachable({"broker 1": listening.getsockname(), "broker 2": address})
    assert line.startswith(said)


def test_an_address_that_never_answers_ends_the_waiting() -> None:
    """A full queue of connections drops further ones, as a firewall does."""
    with ExitStack() as open_, socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(3):
            one = open_.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(server.getsockname())
        [line] = unreachable({"broker 1": server.getsockname()})
    assert line.endswith("no answer in 2 s")


def test_nobody_is_away_where_all_answer(listening: socket.socket) -> None:
    """No line, and none for nobody."""
    assert unreachable({"broker 1": listening.getsockname()}) == []
    assert unreachable({}) == []
