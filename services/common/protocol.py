"""HTTP/1.1 with bounds on a request's head, which uvicorn's fast parser takes at any size and any slowness."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

# A megabyte of token still reaches our code, which answers 401; nothing of this size is ever kept.
MAX_HEAD = 2 * 1024 * 1024
HEAD_SECONDS = 20.0

_TOO_LARGE = b"431 Request Header Fields Too Large"
_TOO_SLOW = b"408 Request Timeout"
_MALFORMED = b"400 Bad Request"


class BoundedProtocol(HttpToolsProtocol):
    """One connection; a head that is too large, too slow or unreadable ends it with a status."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._head_size = 0
        self._in_head = True
        self._timer: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        """Take what came, and give up when the head does not come to an end."""
        if self._in_head and self._timer is None:
            self._timer = self.loop.call_later(HEAD_SECONDS, self._end, _TOO_SLOW)
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
        super().on_headers_complete()
        self._in_head = False
        self._stop_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody waits any more."""
        self._stop_timer()
        super().connection_lost(exc)

    def _end(self, status: bytes) -> None:
        self._stop_timer()
        if not self.transport.is_closing():
            self.transport.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            self.transport.close()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
