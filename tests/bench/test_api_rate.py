"""How fast api creates and lists tasks, against a minimal FastAPI handler with the same SQL on the same server."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial

import httpx
import uvicorn
from fastapi import FastAPI

from tests.bench.bare_api import USER
from tests.bench.paired import compare
from tests.bench.service import served, service
from tests.unit.services import access_tokens
from tests.unit.services.postgres_server import TodoDatabase, free_port

_AT_ONCE, _CALLS, _ROUNDS = 8, 80, 11
_BODY = {"title": "Water the plants", "priority": "high", "tags": ["home", "green"]}


def test_create_and_list_against_a_minimal_handler(todo: TodoDatabase) -> None:
    """Validated, authorised, idempotent and told to the world, a call takes at most twice as long."""
    port = free_port()
    bare = [sys.executable, "-m", "tests.bench.bare_api", str(port), todo.url("api")]
    headers = {"authorization": f"Bearer {access_tokens.token(USER, now=datetime.now(UTC))}"}
    with (
        _sidecar() as sidecar,
        service("api", todo.url("api"), sidecar_port=sidecar) as ours,
        served(bare, port, {}) as url,
    ):
        ratios = {}
        for name, method, body in (("create", "POST", _BODY), ("list", "GET", None)):
            a, b = (_calls(f"{base}/api/tasks", method, body, headers) for base in (ours, url))
            ratios[name] = compare(a, b, rounds=_ROUNDS)
            print(f"\n{name}: {_CALLS} calls of api against the minimal handler: {ratios[name]}", end="")
    assert ratios["create"].median <= 2
    assert ratios["list"].median <= 2


def _calls(url: str, method: str, body: object, headers: dict[str, str]) -> Callable[[], None]:
    async def worker(http: httpx.AsyncClient) -> None:
        for _ in range(_CALLS // _AT_ONCE):
            answer = await http.request(method, url, json=body, headers=headers)
            assert answer.status_code in {200, 201}, answer.text

    async def all_of_them() -> None:
        async with httpx.AsyncClient(trust_env=False, timeout=60) as http:
            await asyncio.gather(*(worker(http) for _ in range(_AT_ONCE)))

    return partial(_run, all_of_them)


def _run(work: Callable[[], object]) -> None:
    asyncio.run(work())  # type: ignore[arg-type]


@contextmanager
def _sidecar() -> Iterator[int]:
    """The port of a sidecar behind which auth vouches for the tokens, and nothing else is there."""
    import threading

    app = FastAPI()
    app.mount("/v1.0/invoke/auth/method", access_tokens.auth_app())
    server = uvicorn.Server(uvicorn.Config(app, port=free_port(), log_level="critical"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield server.config.port
    finally:
        server.should_exit = True
        thread.join(10)
