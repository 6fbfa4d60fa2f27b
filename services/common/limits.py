"""Bounds on a request's body: how large it may be, and how long it may take to come."""

from __future__ import annotations

import asyncio

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.common.problems import Problem, render


class BodyLimitMiddleware:
    """Answers 413 to a body over `limit` bytes, announced or not, and 408 to one that takes over `seconds`.

    The rest of such a body is not read.
    """

    def __init__(self, app: ASGIApp, *, limit: int, seconds: float = 30.0) -> None:
        self._app, self._limit, self._seconds = app, limit, seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "0")
        problem = _too_large(self._limit) if announced.isdecimal() and int(announced[:20]) > self._limit else None
        try:
            if problem is None:
                await self._app(scope, self._bounded(receive), send)
        except _OutOfBoundsError as error:
            problem = error.problem
        if problem is not None:
            await render(problem)(scope, receive, send)

    def _bounded(self, receive: Receive) -> Receive:
        seen, more = 0, True
        deadline = asyncio.get_running_loop().time() + self._seconds

        async def bounded() -> Message:
            nonlocal seen, more
            # After the body, what can come is a disconnect, and that has all the time of the answer.
            message = await _by(deadline, receive) if more else await receive()
            more = bool(message.get("more_body"))
            seen += len(message.get("body", b""))
            if seen > self._limit:
                raise _OutOfBoundsError(_too_large(self._limit))
            return message

        return bounded


async def _by(deadline: float, receive: Receive) -> Message:
    try:
        async with asyncio.timeout_at(deadline):
            return await receive()
    except TimeoutError as error:
        problem = Problem(408, "too_slow", "the body took too long to come", headers={"connection": "close"})
        raise _OutOfBoundsError(problem) from error


def _too_large(limit: int) -> Problem:
    return Problem(413, "too_large", f"a body may have up to {limit} bytes", headers={"connection": "close"})


class _OutOfBoundsError(BaseException):
    """Passes through every handler on the way out; FastAPI would answer 400 to an Exception while reading a body."""

    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self.problem = problem
