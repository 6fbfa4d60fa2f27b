"""What a client may send over a socket or by polling: how much at once and how often. More ends the connection."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs

from socketio.packet import Packet
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.common.ratelimit import TokenBuckets
from services.sync.metrics import SyncMetrics

_BURST_SECONDS = 2
# Between the packets of one post; a packet that begins with b is binary.
# Source: https://socket.io/docs/v4/engine-io-protocol/#http-long-polling
_SEPARATOR = b"\x1e"
_PACKETS = 16
# close, ping, pong, message, upgrade; the first is the one that a client may not send in a post.
_KINDS = "21345"


class ClientLimits:
    """Around the Socket.IO application: closes with 1008 (too often), 1009 (too large) or 1003; 429, 400."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        per_second: float,
        message_bytes: int,
        metrics: SyncMetrics,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._app, self._bytes, self._metrics = app, message_bytes, metrics
        self._buckets = TokenBuckets(rate=per_second, burst=per_second * _BURST_SECONDS, monotonic=monotonic)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a connection or a request on, within its limits."""
        if scope["type"] == "websocket":
            await self._app(scope, _Bounded(self, receive, send), send)
        elif scope["type"] == "http" and scope["method"] == "POST":
            await self._post(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _post(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._buckets.take(_session(scope)):
            self._metrics.refused.labels("too_often").inc()
            await PlainTextResponse("too many messages", 429, {"retry-after": "1"})(scope, receive, send)
            return
        # Small: the limit on bodies is around this.
        body = await Request(scope, receive).body()
        packets = body.split(_SEPARATOR)
        if any(packet.startswith(b"b") for packet in packets):
            self._metrics.refused.labels("not_text").inc()
            await PlainTextResponse("nothing of ours is binary", 400)(scope, receive, send)
            return
        # The library would close the session and wait, without end, for a poll that fetches what is left.
        if len(packets) > _PACKETS or not all(_is_packet(packet, _KINDS[1:]) for packet in packets):
            self._metrics.refused.labels("malformed").inc()
            await PlainTextResponse("not a packet of Socket.IO", 400)(scope, receive, send)
            return

        async def again() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        await self._app(scope, again, send)

    async def bounded(self, key: object, receive: Receive, send: Send) -> Message:
        """What comes next by a socket; its end where that is more than it may be."""
        message = await receive()
        if message["type"] != "websocket.receive" or (verdict := self._verdict(message, key)) is None:
            return message
        code, reason = verdict
        self._metrics.closed.labels(reason).inc()
        await send({"type": "websocket.close", "code": code, "reason": reason})
        return {"type": "websocket.disconnect", "code": code}

    def _verdict(self, message: Message, key: object) -> tuple[int, str] | None:
        text = message.get("text")
        if text is None:
            # Nothing of ours is binary; the library would hold the parts of such a message together in memory.
            return 1003, "not_text"
        if len(text) > self._bytes:
            return 1009, "too_large"
        if self._buckets.take(key):
            return 1008, "too_often"
        return None if _is_packet(text, _KINDS) else (1003, "malformed")


class _Bounded:
    """One socket's messages within the limits: an object, for thousands of them are less than closures."""

    __slots__ = ("_key", "_limits", "_receive", "_send")

    def __init__(self, limits: ClientLimits, receive: Receive, send: Send) -> None:
        self._limits, self._receive, self._send = limits, receive, send
        self._key = object()  # outlives the socket: what counts its messages forgets it later

    def __call__(self) -> Awaitable[Message]:
        return self._limits.bounded(self._key, self._receive, self._send)


def _is_packet(text: str | bytes, kinds: str) -> bool:
    """Whether the library can read it; what it can't would become a traceback in the log, or worse."""
    try:
        text = text if isinstance(text, str) else text.decode()
        if not text or text[0] not in kinds:
            return False
        return text[0] != "4" or _is_message(text[1:])
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return False


def _is_message(text: str) -> bool:
    """Whether it is a log-in, a log-out, an event with a name or an acknowledgement, without binary parts."""
    packet = Packet(encoded_packet=text or "?")
    match packet.packet_type, packet.data:
        case (0 | 1, _) | (2, [str(), *_]) | (3, list()):
            return True
    return False


def _session(scope: Scope) -> str:
    query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
    return f"polling {query.get('sid', [''])[0][:64]}"
