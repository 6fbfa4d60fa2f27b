"""A way into a Kafka cluster whose brokers this machine can't reach by name.

A client that asks one broker is sent on to others by the names that these advertise. The gateway listens on this machine
for each broker, carries the bytes by a connection that somebody else opens, and writes its own addresses into the few
answers that name brokers. It asks clients to use versions of these answers whose form it knows; everything else passes
as it is. Source: https://kafka.apache.org/protocol.html.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from todoctl.core.ports import LOOPBACK
from todoctl.errors import TodoctlError

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]
Ask = tuple[int, int]  # what is asked and in which version

_PRODUCE, _FETCH, _METADATA, _FIND_COORDINATOR, _API_VERSIONS, _DESCRIBE_CLUSTER = 0, 1, 3, 10, 18, 60
# The newest versions that name no broker (Produce 10 and Fetch 16 do), or do so in the older form without tags.
_NEWEST = {_PRODUCE: 9, _FETCH: 15, _METADATA: 8, _FIND_COORDINATOR: 2, _DESCRIBE_CLUSTER: -1}
_LARGEST = 128 * 2**20  # bytes of one answer; a larger one is none


class Gateway:
    """Ports of this machine that stand for the brokers of one cluster.

    `listen` opens a port whose connections a handler gets, `dial` a connection to a broker by its advertised address.
    """

    def __init__(
        self,
        listen: Callable[[Handler], Coroutine[Any, Any, int]],
        dial: Callable[[str, int], Coroutine[Any, Any, Streams]],
    ) -> None:
        self._listen, self._dial = listen, dial
        self._ports: dict[tuple[str, int], int] = {}
        self._opening = asyncio.Lock()

    async def port(self, host: str, port: int) -> int:
        """The port of this machine that stands for a broker, opened where it is not yet."""
        async with self._opening:
            if (host, port) not in self._ports:
                self._ports[host, port] = await self._listen(
                    lambda reader, writer: self._carry(host, port, reader, writer)
                )
        return self._ports[host, port]

    async def _carry(self, host: str, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client's connection to one broker, until either ends it."""
        asked: deque[Ask] = deque()
        try:
            answers, asks = await self._dial(host, port)
        except (TodoctlError, OSError):
            # The client sees a broker that is away, and says so in its own time.
            await _closed(writer)
            return
        works = [
            asyncio.ensure_future(_forward(reader, asks, asked)),
            asyncio.ensure_future(self._back(answers, writer, asked)),
        ]
        try:
            await asyncio.wait(works, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for work in works:
                work.cancel()
            await asyncio.gather(*works, return_exceptions=True)
            await _closed(asks, writer)

    async def _back(self, answers: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: deque[Ask]) -> None:
        while True:
            answer = await _frame(answers)
            # Brokers answer one connection's requests in their order.
            key, version = asked.popleft()
            if key == _API_VERSIONS:
                answer = limited(answer, version)
            elif key == _METADATA:
                answer = await self._metadata(answer, version)
            elif key == _FIND_COORDINATOR:
                answer = await self._coordinator(answer, version)
            writer.write(struct.pack(">i", len(answer)) + answer)
            await writer.drain()

    async def _metadata(self, answer: bytes, version: int) -> bytes:
        at = 4 + (4 if version >= 3 else 0)
        (count,) = struct.unpack_from(">i", answer, at)
        at += 4
        written = [answer[:at]]
        for _ in range(count):
            node, after = answer[at : at + 4], at + 4
            replaced, at = await self._address(answer, after)
            rack = at
            if version >= 1:
                (length,) = struct.unpack_from(">h", answer, at)
                at += 2 + max(0, length)
            written += [node, replaced, answer[rack:at]]
        return b"".join((*written, answer[at:]))

    async def _coordinator(self, answer: bytes, version: int) -> bytes:
        at = 4 + (4 if version >= 1 else 0)
        (error,) = struct.unpack_from(">h", answer, at)
        at += 2
        if version >= 1:
            (length,) = struct.unpack_from(">h", answer, at)
            at += 2 + max(0, length)
        if error:
            return answer
        replaced, after = await self._address(answer, at + 4)
        return answer[: at + 4] + replaced + answer[after:]

    async def _address(self, answer: bytes, at: int) -> tuple[bytes, int]:
        """Our host and port in the place of the ones there, and where these end."""
        (length,) = struct.unpack_from(">h", answer, at)
        host = answer[at + 2 : at + 2 + length].decode()
        (port,) = struct.unpack_from(">i", answer, at + 2 + length)
        ours = LOOPBACK.encode()
        return struct.pack(">h", len(ours)) + ours + struct.pack(">i", await self.port(host, port)), at + 6 + length


def limited(answer: bytes, version: int) -> bytes:
    """An answer to ApiVersions in which nothing is newer than we know it."""
    (error,) = struct.unpack_from(">h", answer, 4)
    if error:
        # It has the oldest form, whatever was asked; the client asks again.
        return answer
    written, at = bytearray(answer), 6
    count, at = _varint(answer, at) if version >= 3 else (struct.unpack_from(">i", answer, at)[0] + 1, at + 4)
    for _ in range(count - 1):
        key, oldest, newest = struct.unpack_from(">hhh", answer, at)
        known = _NEWEST.get(key, newest)
        # A range that ends before it begins is no version at all: the client does without.
        struct.pack_into(">hhh", written, at, key, max(oldest, 0) if known >= 0 else 0, min(newest, known))
        at += 6
        if version >= 3:
            at = _skip_tags(answer, at)
    return bytes(written)


async def _forward(reader: asyncio.StreamReader, asks: asyncio.StreamWriter, asked: deque[Ask]) -> None:
    while True:
        ask = await _frame(reader)
        asked.append(struct.unpack_from(">hh", ask))
        asks.write(struct.pack(">i", len(ask)) + ask)
        await asks.drain()


async def _closed(*writers: asyncio.StreamWriter) -> None:
    for writer in writers:
        writer.close()
    for writer in writers:
        with suppress(OSError):
            await writer.wait_closed()


async def _frame(reader: asyncio.StreamReader) -> bytes:
    (length,) = struct.unpack(">i", await reader.readexactly(4))
    if not 4 <= length <= _LARGEST:
        raise ConnectionError(f"{length} bytes are no message of Kafka's")
    return await reader.readexactly(length)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return value, at


def _skip_tags(data: bytes, at: int) -> int:
    count, at = _varint(data, at)
    for _ in range(count):
        _, at = _varint(data, at)
        length, at = _varint(data, at)
        at += length
    return at
