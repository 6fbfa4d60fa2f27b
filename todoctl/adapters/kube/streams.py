"""Streams into pods: programs run in their containers, connections to their ports. One thread carries them all."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import urlencode

from todoctl.adapters.kube.access import Access
from todoctl.adapters.kube.answers import KubeError, check, unreachable
from todoctl.adapters.kube.api import CONNECT_SECONDS
from todoctl.adapters.kube.kinds import PODS
from todoctl.core.ports import LOOPBACK
from todoctl.errors import TodoctlError

_PROTOCOL = "v4.channel.k8s.io"  # every frame begins with the number of its channel
_STDOUT, _STDERR, _STATUS = 1, 2, 3
_DATA, _ERROR = 0, 1
_CHUNK = 64 * 1024  # bytes read at once

T = TypeVar("T")
Dialled = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True)
class Target:
    """A port of a pod."""

    namespace: str
    pod: str
    port: int


class Streams:
    """What is open into the pods of a cluster; all of it ends with `close`. May be used by several threads at once."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="kubernetes streams", daemon=True)
        self._thread.start()
        self._tasks: set[asyncio.Task[Any]] = set()
        self.complaints: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End every stream."""
        if self._loop.is_closed():
            return
        self.call(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Do the work in the thread of the streams; gives what it gives."""
        return asyncio.run_coroutine_threadsafe(self._called(work), self._loop).result()

    def run(self, namespace: str, pod: str, container: str, argv: Sequence[str], *, seconds: float = 30) -> bytes:
        """What a program in a container writes to its stdout.

        Raises:
            KubeError: it ended with another exit code than 0, or could not be started; the detail is its stderr.
            TodoctlError: it did not end in time.
        """
        try:
            return self.call(asyncio.wait_for(self._run(namespace, pod, container, argv), seconds))
        except TimeoutError as error:
            raise TodoctlError(f"{argv[0]} in {namespace}/{pod} did not end within {seconds:.0f} s") from error

    def forward(self, target: Callable[[], Target], *, port: int = 0) -> int:
        """A port of this machine, a free one where 0 is asked for, whose connections lead into a pod.

        `target` is asked for each new connection, so that it may follow a rolling update; it may raise TodoctlError.

        Raises:
            OSError: the port is taken.
        """

        async def dial() -> Dialled:
            return await self.dial(await asyncio.to_thread(target))

        return self.serve(dial, port=port)

    def serve(self, dial: Callable[[], Coroutine[Any, Any, Dialled]], *, port: int = 0) -> int:
        """A port of this machine whose connections are joined with what `dial` gives."""
        return self.call(self._serve(lambda reader, writer: self._join(dial, reader, writer), port))

    def listen(
        self, handle: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]
    ) -> Coroutine[Any, Any, int]:
        """A port of this machine whose connections `handle` gets; to be awaited in the thread of the streams."""
        return self._serve(handle, 0)

    async def dial(self, target: Target, *, tls: ssl.SSLContext | None = None, name: str = "") -> Dialled:
        """A connection to a port of a pod; with `tls` its server must prove to be `name`."""
        path = PODS.path(target.namespace, target.pod, "portforward")
        ours, theirs = socket.socketpair()
        self._keep(self._carry(path, target, theirs), theirs)
        return await asyncio.open_connection(sock=ours, ssl=tls, server_hostname=name if tls else None)

    async def _carry(self, path: str, target: Target, end: socket.socket) -> None:
        """Carry bytes between a socket and a pod's port until one of them ends."""
        reader, writer = await asyncio.open_connection(sock=end)
        try:
            async with self._opened(path, [("ports", str(target.port))]) as link:
                await _first(_up(reader, link), self._down(link, writer))
        except TodoctlError as error:
            self.complaints.append(error.message)
        finally:
            await _closed(writer)

    async def _down(self, link: Any, writer: asyncio.StreamWriter) -> None:
        opened: set[int] = set()
        async for frame in link:
            channel, data = frame[0], frame[1:]
            if channel not in opened:
                # The first frame of each channel repeats the port.
                opened.add(channel)
            elif channel == _ERROR:
                self.complaints.append(data.decode(errors="replace").strip())
                return
            elif channel == _DATA:
                writer.write(data)
                await writer.drain()

    async def _run(self, namespace: str, pod: str, container: str, argv: Sequence[str]) -> bytes:
        query = [("command", word) for word in argv] + [
            ("container", container),
            ("stdout", "true"),
            ("stderr", "true"),
        ]
        said: dict[int, bytearray] = {_STDOUT: bytearray(), _STDERR: bytearray(), _STATUS: bytearray()}
        async with self._opened(PODS.path(namespace, pod, "exec"), query) as link:
            async for frame in link:
                said.setdefault(frame[0], bytearray()).extend(frame[1:])
        status = json.loads(said[_STATUS] or b"{}")
        if status.get("status") != "Success":
            lines = said[_STDERR].decode(errors="replace").splitlines()[-10:]
            reason = status.get("message", "the connection was cut")
            raise KubeError(f"{argv[0]} in {namespace}/{pod}: {reason}", status=0, detail=tuple(lines))
        return bytes(said[_STDOUT])

    @asynccontextmanager
    async def _opened(self, path: str, query: list[tuple[str, str]]) -> AsyncIterator[Any]:
        from websockets.asyncio.client import connect
        from websockets.exceptions import InvalidStatus, WebSocketException
        from websockets.typing import Subprotocol

        access = self._access
        address = access.server.replace("http", "ws", 1) + f"{path}?{urlencode(query)}"
        try:
            link = await connect(
                address,
                subprotocols=[Subprotocol(_PROTOCOL)],
                additional_headers=await asyncio.to_thread(access.headers),
                compression=None,
                proxy=access.proxy,
                open_timeout=CONNECT_SECONDS,
                ping_interval=None,
                max_size=None,
                **_tls(access),
            )
        except InvalidStatus as error:
            check(access, error.response.status_code, bytes(error.response.body or b"").decode(errors="replace"))
            raise
        except (WebSocketException, OSError, TimeoutError) as error:
            raise unreachable(access, error) from error
        try:
            yield link
        finally:
            await link.close()

    async def _serve(
        self, handle: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]], port: int
    ) -> int:
        # The port is listened on from now on; the task only holds it.
        server = await asyncio.start_server(
            lambda reader, writer: self._keep(handle(reader, writer), writer), LOOPBACK, port
        )
        self._keep(_held(server))
        return int(server.sockets[0].getsockname()[1])

    async def _join(
        self,
        dial: Callable[[], Coroutine[Any, Any, Dialled]],
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        open_ends = [writer]
        try:
            theirs, ours = await dial()
            open_ends.append(ours)
            await _first(_copy(reader, ours), _copy(theirs, writer))
        except (TodoctlError, OSError) as error:
            self.complaints.append(str(error))
        finally:
            await _closed(*open_ends)

    def _keep(self, work: Coroutine[Any, Any, None], end: socket.socket | asyncio.StreamWriter | None = None) -> None:
        """Run beside everything else, until it is done or all ends; `end` is closed then.

        Work that is cancelled before its first step never gets to close what it was given.
        """
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if end is not None:
            task.add_done_callback(lambda _: end.close())

    async def _called(self, work: Coroutine[Any, Any, T]) -> T:
        """The work of another thread, which does not wait for ever when all ends."""
        task = asyncio.current_task()
        self._tasks.add(task)  # type: ignore[arg-type]
        try:
            return await work
        finally:
            self._tasks.discard(task)

    async def _end(self) -> None:
        # A connection that was just taken is a task of asyncio's own, and one of ours a step later: only ours may be
        # cancelled, and all are waited for.
        me = asyncio.current_task()
        while others := asyncio.all_tasks() - {me}:
            for task in others & self._tasks:
                task.cancel()
            await asyncio.wait(others)
            await asyncio.sleep(0)


def _tls(access: Access) -> dict[str, Any]:
    if access.tls is None:
        return {}
    return {"ssl": access.tls} | ({"server_hostname": access.server_name} if access.server_name else {})


async def _held(server: asyncio.Server) -> None:
    async with server:
        await asyncio.Event().wait()


async def _up(reader: asyncio.StreamReader, link: Any) -> None:
    while data := await reader.read(_CHUNK):
        await link.send(bytes([_DATA]) + data)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()


async def _first(*works: Coroutine[Any, Any, None]) -> None:
    """Do all at once until the first one ends; a connection that was cut is an end like any other."""
    from websockets.exceptions import ConnectionClosed

    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(ended, Exception) and not isinstance(ended, (OSError, ConnectionClosed)):
                raise ended


async def _closed(*writers: asyncio.StreamWriter) -> None:
    """Close connections, and return when they are."""
    for writer in writers:
        writer.close()
    for writer in writers:
        with suppress(OSError):
            await writer.wait_closed()
