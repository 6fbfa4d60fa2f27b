"""Bytes on a connection, as no client library would send them, and what came back."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Heard:
    """All that came back before the other side closed, or `seconds` passed."""

    raw: bytes
    is_closed: bool

    @property
    def statuses(self) -> list[int]:
        """The status of each answer."""
        return [int(status) for status in re.findall(rb"HTTP/1\.1 ([0-9]{3}) ", self.raw)]

    @property
    def problem(self) -> dict[str, Any]:
        """The problem document of the last answer."""
        head, _, body = self.raw.rpartition(b"\r\n\r\n")
        assert b"application/problem+json" in head, self.raw
        found: dict[str, Any] = json.loads(body)
        return found


def say(port: int, *pieces: bytes, seconds: float = 10) -> Heard:
    """What comes back for these bytes."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as link:
        with suppress(ConnectionError):
            for piece in pieces:
                link.sendall(piece)
        return _heard(link)


def request(line: str, *headers: str, host: str | None = "127.0.0.1") -> bytes:
    """A request's head."""
    named = [] if host is None else [f"Host: {host}"]
    return "\r\n".join([line, *named, *headers, "", ""]).encode("latin-1")


def all_closed(links: Iterable[socket.socket]) -> list[Heard]:
    """What each of the connections heard until it was closed."""
    return [_heard(link) for link in links]


def _heard(link: socket.socket) -> Heard:
    parts = []
    try:
        while part := link.recv(65536):
            parts.append(part)
    except ConnectionError:
        pass
    except TimeoutError:
        return Heard(b"".join(parts), is_closed=False)
    return Heard(b"".join(parts), is_closed=True)
