"""What every request leaves behind: its correlation id, its count and duration by route template."""

from __future__ import annotations

import logging
import re
import time
from uuid import uuid4

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.common.context import correlation_id, user_id
from services.common.problems import Problem, render

_log = logging.getLogger("services.http")
_SANE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_QUIET = frozenset({"/healthz", "/readyz", "/workz", "/metrics"})


class HttpMetrics:
    """Requests by method, route template and status; never by path, which a client chooses."""

    def __init__(self, registry: CollectorRegistry) -> None:
        labels = ("method", "route", "status")
        self.requests = Counter("http_requests_total", "Requests answered.", labels, registry=registry)
        self.seconds = Histogram(
            "http_request_duration_seconds", "Time to answer a request.", labels, registry=registry
        )

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        labels = (method if method in _METHODS else "other", route, str(status))
        self.requests.labels(*labels).inc()
        self.seconds.labels(*labels).observe(seconds)


class ObservabilityMiddleware:
    """The outermost layer: ids in and out, one log line and one count per request, and a 500 for what nobody caught."""

    def __init__(self, app: ASGIApp, *, metrics: HttpMetrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        correlation = given if _SANE_ID.fullmatch(given) else uuid4().hex
        correlation_id.set(correlation)
        user_id.set(None)
        answer = _Answer(send, correlation)
        started = time.perf_counter()
        try:
            await self._app(scope, receive, answer)
        except Exception:  # noqa: BLE001 - the last line of defence: a bug is logged with its traceback and answered as a 500
            _log.exception("unforeseen error")
            if not answer.status:
                await render(Problem(500, "internal", "something went wrong here; it was logged"))(
                    scope, receive, answer
                )
        finally:
            self._record(scope, answer.status, time.perf_counter() - started)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        # Without a status the client went away before there was an answer.
        status = status or 499
        route = getattr(scope.get("route"), "path", None) or "unmatched"
        self._metrics.observe(scope["method"], route, status, seconds)
        level = logging.DEBUG if scope["path"] in _QUIET else logging.INFO
        extra = {
            "method": scope["method"][:16],
            "route": route,
            "status": status,
            "duration_ms": round(seconds * 1000, 2),
        }
        _log.log(level, "request", extra=extra)


class _Answer:
    """`send` that remembers the status and adds the correlation id."""

    def __init__(self, send: Send, correlation: str) -> None:
        self._send, self._correlation = send, correlation
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["x-request-id"] = self._correlation
            headers["x-content-type-options"] = "nosniff"
        await self._send(message)
