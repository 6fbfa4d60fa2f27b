"""A user's socket to sync, as a page has it; the only importer of Socket.IO's client."""

from __future__ import annotations

import queue
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from todoctl.errors import TodoctlError


class SocketError(TodoctlError):
    """The socket could not be opened, or did not say what was waited for."""


class Socket:
    """An open connection; what it receives waits in a queue."""

    def __init__(self, messages: queue.Queue[tuple[str, Any]]) -> None:
        self._messages = messages

    def next(self, event: str, *, deadline: float) -> Any:
        """The next message of this event; others are passed over. `deadline` is monotonic.

        Raises:
            SocketError: none came in time.
        """
        while (left := deadline - time.monotonic()) > 0:
            try:
                name, message = self._messages.get(timeout=left)
            except queue.Empty:
                break
            if name == event:
                return message
        raise SocketError(f"no {event} came over the socket", hint="todoctl logs sync sync-daprd")


@contextmanager
def connected(address: str, token: str, *, seconds: float) -> Iterator[Socket]:
    """A socket that has caught up and now receives what happens, closed after the block.

    Raises:
        SocketError: it was refused, or did not get ready in time.
    """
    import socketio

    messages: queue.Queue[tuple[str, Any]] = queue.Queue()
    # We are no page: without the header sync asks for the token alone.
    client = socketio.Client(reconnection=False, logger=False, websocket_extra_options={"suppress_origin": True})
    client.on("*", lambda event, message=None: messages.put((event, message)))
    client.on("connect_error", lambda message=None: messages.put(("connect_error", message)))
    try:
        client.connect(address, auth={"token": token}, transports=["websocket"], wait_timeout=max(1, int(seconds)))
        socket = Socket(messages)
        socket.next("sync.ready", deadline=time.monotonic() + seconds)
        yield socket
    except socketio.exceptions.ConnectionError as error:
        reason = _refusal(messages) or str(error)
        raise SocketError(f"the socket to {address} was not opened: {reason}", hint="todoctl logs sync") from error
    finally:
        client.disconnect()


def _refusal(messages: queue.Queue[tuple[str, Any]]) -> str:
    """What the server said when it refused."""
    while not messages.empty():
        name, message = messages.get_nowait()
        if name == "connect_error" and message:
            return str(message.get("message") if isinstance(message, dict) else message)
    return ""
