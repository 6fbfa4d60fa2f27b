"""Streams into pods: programs run in their containers, connections to their ports. One thread carries them all."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import threading
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

from todoctl.adapters.kube.access import Access
from todoctl.adapters.kube.answers import KubeError
from todoctl.adapters.kube.kinds import PODS
from todoctl.adapters.kube.websocket import opened
from todoctl.core.ports import LOOPBACK
from todoctl.errors import TodoctlError

_STDOUT, _STDERR, _STATUS = 1, 2, 3
_DATA, _ERROR = 0, 1
_CHUNK = 64 * 1024  # bytes read at once
_ACCEPT_AGAIN_SECONDS = 1.0  # as asyncio's own server

T = TypeVar("T")
Dialled = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[Any, Any, None]]


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
        self._listening: list[socket.socket] = []
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

    def listen(self, handle: Handle) -> Coroutine[Any, Any, int]:
        """A port of this machine whose connections `handle` gets; to be awaited in the thread of the streams."""
        return self._serve(handle, 0)

    async def dial(self, target: Target, *, tls: ssl.SSLContext | None = None, name: str = "") -> Dialled:
        """A connection to a port of a pod; with `tls` its server must prove to be `name`."""
        path = PODS.path(target.namespace, target.pod, "portforward")
        ours, theirs = socket.socketpair()
        self._keep(lambda reader, writer: self._carry(path, target, reader, writer), theirs)
        return await asyncio.open_connection(sock=ours, ssl=tls, server_hostname=name if tls else None)

    async def _carry(
        self, path: str, target: Target, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Carry bytes between a connection and a pod's port until one of them ends."""
        try:
            async with opened(self._access, path, [("ports", str(target.port))]) as link:
                await _first(_up(reader, link), self._down(link, writer))
        except TodoctlError as error:
            self.complaints.append(error.message)

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
        async with opened(self._access, PODS.path(namespace, pod, "exec"), query) as link:
            async for frame in link:
                said.setdefault(frame[0], bytearray()).extend(frame[1:])
        status = json.loads(said[_STATUS] or b"{}")
        if status.get("status") != "Success":
            lines = said[_STDERR].decode(errors="replace").splitlines()[-10:]
            reason = status.get("message", "the connection was cut")
            raise KubeError(f"{argv[0]} in {namespace}/{pod}: {reason}", status=0, detail=tuple(lines))
        return bytes(said[_STDOUT])

    async def _serve(self, handle: Handle, port: int) -> int:
        listening = socket.create_server((LOOPBACK, port))
        listening.setblocking(False)
        self._listening.append(listening)
        self._watch(listening, handle)
        return int(listening.getsockname()[1])

    def _take(self, listening: socket.socket, handle: Handle) -> None:
        """Take a connection that waits.

        asyncio's own server loses what it has just taken when it is closed at that step (its `_attach` fails then).
        """
        try:
            end, _ = listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:  # no descriptor is left: the rest waits until one is
            self.complaints.append(str(error))
            self._loop.remove_reader(listening)
            self._loop.call_later(_ACCEPT_AGAIN_SECONDS, self._watch, listening, handle)
            return
        self._keep(handle, end)

    def _watch(self, listening: socket.socket, handle: Handle) -> None:
        if listening in self._listening:
            self._loop.add_reader(listening, self._take, listening, handle)

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
            # Neither waits for what the other one still has to send.
            await _closed(*open_ends)

    def _keep(self, handle: Handle, end: socket.socket) -> None:
        """Handle a connection beside everything else, until that is done or all ends; `end` is closed then.

        Work that is cancelled before its first step never gets to close what it was given.
        """
        task = self._loop.create_task(_handled(handle, end))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
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
        while self._listening:
            listening = self._listening.pop()
            self._loop.remove_reader(listening)
            listening.close()
        # What our tasks wait for is theirs to cancel: only ours are cancelled, and all are waited for.
        me = asyncio.current_task()
        while others := asyncio.all_tasks() - {me}:
            for task in others & self._tasks:
                task.cancel()
            await asyncio.wait(others)
            await asyncio.sleep(0)


async def _handled(handle: Handle, end: socket.socket) -> None:
    reader, writer = await asyncio.open_connection(sock=end)
    try:
        await handle(reader, writer)
    finally:
        await _closed(writer)


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
