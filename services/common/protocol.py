"""HTTP/1.1 with bounds on a request's head, which uvicorn's fast parser takes at any size and any slowness.

What is refused here never reaches the application; it is answered as a problem all the same.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from services.common.problems import Problem, body_of
from services.common.queues import LightEvent, LightQueue

# A megabyte of token still reaches our code, which answers 401; nothing of this size is ever kept.
MAX_HEAD = 2 * 1024 * 1024
MAX_FIELDS = 200
HEAD_SECONDS = 20.0

# RFC 9110, section 7.2: a name or an address, and a port; a path in it would end up in addresses that are built from it.
_HOST = re.compile(rb"[A-Za-z0-9._-]{1,255}(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](:[0-9]{1,5})?")

_TOO_LARGE = Problem(431, "head_too_large", f"the head of a request may have up to {MAX_HEAD} bytes")
_TOO_MANY = Problem(431, "head_too_large", f"a request may have up to {MAX_FIELDS} header fields")
_TOO_SLOW = Problem(408, "too_slow", "the head of the request took too long to come")
_MALFORMED = Problem(400, "malformed", "this is no HTTP/1.1 request that can be read in one way only")


class BoundedProtocol(HttpToolsProtocol):
    """One connection; a head that is too large, too slow or unreadable ends it with a status."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._head_size = 0
        self._in_head = True
        self._heard = False
        self._refusal = _MALFORMED
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Somebody connected; a connection on which nothing ever comes is not kept either."""
        super().connection_made(transport)
        self._start_timer()

    def data_received(self, data: bytes) -> None:
        """Take what came, and give up when the head does not come to an end."""
        self._heard = True
        if self._in_head and self._timer is None:
            self._start_timer()
        try:
            super().data_received(data)
        except (UnicodeDecodeError, AttributeError):
            # The parser lets through targets that uvicorn can't take: bytes that are no ASCII, or no path at all.
            self._end(_MALFORMED)
            return
        if self._in_head:
            self._head_size += len(data)
            if self._head_size > MAX_HEAD:
                self._end(_TOO_LARGE)

    def on_message_begin(self) -> None:
        """The parser saw the first byte of a head."""
        super().on_message_begin()
        self._in_head, self._head_size = True, 0

    def on_headers_complete(self) -> None:
        """The parser saw the end of a head."""
        if len(self.headers) > MAX_FIELDS:
            self._refuse(_TOO_MANY)
        if not self._names_one_host():
            self._refuse(_MALFORMED)
        super().on_headers_complete()
        self._in_head = False
        self._stop_timer()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - the parser's words are about its inside
        """End the connection after what the parser, or one of its callbacks, refused."""
        self._end(self._refusal)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody waits any more."""
        self._stop_timer()
        super().connection_lost(exc)

    def _refuse(self, problem: Problem) -> None:
        self._refusal = problem
        # The parser passes it on as an error of its own, and reads no further.
        raise ValueError(problem.code)

    def _names_one_host(self) -> bool:
        hosts = [value for name, value in self.headers if name == b"host"]
        return len(hosts) == 1 and _HOST.fullmatch(hosts[0]) is not None

    def _end(self, problem: Problem) -> None:
        self._stop_timer()
        if self.transport.is_closing():
            return
        if self._may_speak():
            self.transport.write(_message(problem))
        self.transport.close()

    def _may_speak(self) -> bool:
        """Whether what is written now is read as the answer to the refused request, not to one before it."""
        if not self._in_head:
            return self.cycle is None or not self.cycle.response_started
        return self._heard and (self.cycle is None or self.cycle.response_complete)

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(HEAD_SECONDS, self._end, _TOO_SLOW)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _message(problem: Problem) -> bytes:
    body = body_of(problem)
    head = (
        f"HTTP/1.1 {problem.status} {problem.title}",
        "content-type: application/problem+json",
        f"content-length: {len(body)}",
        "x-content-type-options: nosniff",
        "connection: close",
    )
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


class LightWebSocketProtocol(WebSocketsSansIOProtocol):
    """One WebSocket that keeps little while nothing happens, for thousands of them are open."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.queue = LightQueue()  # type: ignore[assignment]
        self.writable = LightEvent(is_set=True)  # type: ignore[assignment]

    async def send(self, message: Any) -> None:
        """Send what the application says; once the connection is accepted, its request is forgotten."""
        await super().send(message)
        if message["type"] == "websocket.accept":
            self.scope["headers"] = []
            # The parser holds on to both as long as it lives.
            self.request.headers.clear()
            self.response.headers.clear()
