"""The frame of every service's application: problems, limits, metrics, health; a service adds its routes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager

from fastapi import FastAPI
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from services.common import problems
from services.common.limits import BodyLimitMiddleware
from services.common.observability import HttpMetrics, ObservabilityMiddleware
from services.common.openapi import Responses, refusals, serve_openapi
from services.common.sidecar import Sidecar

# Gives what is missing for the service to work, or None when nothing is.
Check = Callable[[], Awaitable[str | None]]
Lifespan = Callable[[FastAPI], AbstractAsyncContextManager[None]]

BODY_LIMIT = 256 * 1024

# Each proxy adds one of them, whatever its client sends.
_FORWARDED = frozenset({"x-forwarded-for", "forwarded", "x-real-ip"})
_NOT_READY: Responses = {
    503: {
        "description": "What is missing.",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["status", "missing"],
                    "properties": {
                        "status": {"const": "not ready"},
                        "missing": {"type": "object", "additionalProperties": {"type": "string"}},
                    },
                },
                "example": {"status": "not ready", "missing": {"sidecar": "the sidecar is not ready"}},
            }
        },
    }
}


def make_app(
    *,
    title: str,
    registry: CollectorRegistry,
    checks: Mapping[str, Check],
    lifespan: Lifespan | None = None,
    body_limit: int = BODY_LIMIT,
    openapi: bool = False,
    takes_work: Callable[[], bool] = lambda: True,
) -> FastAPI:
    """An application with /healthz, /readyz (503 with what `checks` miss), /workz and /metrics, ready for routes.

    With `openapi` it describes itself at /openapi.json. Its sidecar takes events and jobs only while `takes_work`.
    """
    app = FastAPI(
        title=title,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        # The operations' ids, from which generated clients take the names of their functions.
        generate_unique_id_function=lambda route: route.name,
    )
    app.state.draining = False
    # Awaited before a stop closes connections; a service that has something to say to them sets it.
    app.state.farewell = None
    # What the server hands everything to, where that is not the application itself.
    app.state.entrance = None
    problems.install(app)
    # The last one added is the outermost.
    app.add_middleware(BodyLimitMiddleware, limit=body_limit)
    app.add_middleware(ObservabilityMiddleware, metrics=HttpMetrics(registry))
    _add_health(app, registry, checks)
    _add_work(app, takes_work)
    serve_openapi(app, is_on=openapi)
    return app


def _add_health(app: FastAPI, registry: CollectorRegistry, checks: Mapping[str, Check]) -> None:
    @app.get("/healthz", tags=["health"])
    async def healthz() -> dict[str, str]:
        """Tell that the process lives."""
        return {"status": "ok"}

    @app.get("/readyz", tags=["health"], responses=_NOT_READY)
    async def readyz(request: Request) -> Response:
        """Tell whether everything is there that the service needs."""
        missing = {name: words for name, check in checks.items() if (words := await check())}
        if request.app.state.draining:
            missing["process"] = "stopping"
        if missing:
            return JSONResponse({"status": "not ready", "missing": missing}, 503)
        return JSONResponse({"status": "ready"})

    @app.get("/metrics", tags=["health"], response_class=PlainTextResponse, responses=refusals(404))
    async def metrics(request: Request) -> Response:
        """Tell what Prometheus counts; not to somebody outside, whose request came through a proxy."""
        if not _FORWARDED.isdisjoint(request.headers.keys()):
            raise HTTPException(404)
        return Response(generate_latest(registry), headers={"content-type": CONTENT_TYPE_LATEST})


def _add_work(app: FastAPI, takes_work: Callable[[], bool]) -> None:
    @app.get("/workz", include_in_schema=False)
    async def workz() -> Response:
        """Tell the sidecar whether to take events and jobs for us, and calls of other services."""
        on = takes_work()
        return JSONResponse({"status": "on" if on else "idle"}, 200 if on else 503)


def sidecar_check(sidecar: Sidecar) -> Check:
    """Ready once the sidecar's components are up."""

    async def check() -> str | None:
        return None if await sidecar.is_ready() else "the sidecar is not ready"

    return check
