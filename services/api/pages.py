"""The page at `/`: files of services/web/static and what its packages brought, with headers that allow nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from starlette.responses import Response

from services.api import forwarding
from services.common.settings import SettingsError
from services.common.sidecar import Sidecar

STATIC = Path(__file__).resolve().parents[1] / "web" / "static"
SOCKET_CLIENT = "socket.io.esm.min.js"

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}
_HEADERS = {
    # Asked for again each time and answered with 304: a new release shows at once.
    "cache-control": "no-cache",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}


@dataclass(frozen=True)
class WebSettings:
    """What the page is told: where sync answers ("" if nowhere), and the folder with the Socket.IO client, if any."""

    sync_url: str = ""
    vendor: Path | None = None

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Self:
        """The settings that `environ` holds.

        Raises:
            SettingsError: SYNC_URL is no origin; it becomes part of a security header.
        """
        vendor = environ.get("WEB_VENDOR", "")
        return cls(_origin(environ.get("SYNC_URL", "")), Path(vendor) if vendor else None)

    @property
    def client(self) -> Path | None:
        """The Socket.IO client's module, if it is installed."""
        file = self.vendor / SOCKET_CLIENT if self.vendor else None
        return file if file and file.is_file() else None


@dataclass(frozen=True)
class Asset:
    """One file, ready to be sent."""

    content: bytes
    media: str
    etag: str

    @classmethod
    def read(cls, file: Path) -> Self:
        """The asset that a file holds."""
        content = file.read_bytes()
        return cls(content, _TYPES[file.suffix], f'"{sha256(content).hexdigest()[:32]}"')


def page_routes(settings: WebSettings, sidecar: Sidecar) -> APIRouter:
    """Everything that api answers for the page beyond its own tasks."""
    routes = make_router(settings)
    routes.include_router(forwarding.make_router(sidecar))
    return routes


def make_router(settings: WebSettings) -> APIRouter:
    """One route for each file of the page, and GET /api/config."""
    routes = APIRouter()
    headers = {**_HEADERS, "content-security-policy": policy(settings.sync_url)}
    for path, asset in _assets(settings).items():
        _serve(routes, path, asset, headers)
    client = f"/vendor/{SOCKET_CLIENT}" if settings.client else ""

    @routes.get("/api/config")
    async def config() -> dict[str, str]:
        """What the page needs to know of its surroundings; nothing in it is secret."""
        return {"sync_url": settings.sync_url if client else "", "sync_client": client}

    return routes


def policy(sync_url: str) -> str:
    """The Content-Security-Policy: our own files, our own API, sync, and text never becomes markup."""
    sync = f" {sync_url} {sync_url.replace('http', 'ws', 1)}" if sync_url else ""
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self'",
            f"connect-src 'self'{sync}",
            "manifest-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


def _assets(settings: WebSettings) -> dict[str, Asset]:
    files = {f"/{file.relative_to(STATIC).as_posix()}": file for file in STATIC.rglob("*") if file.suffix in _TYPES}
    if settings.client:
        files[f"/vendor/{SOCKET_CLIENT}"] = settings.client
    assets = {path: Asset.read(file) for path, file in files.items()}
    assets["/"] = assets.pop("/index.html")
    return assets


def _serve(routes: APIRouter, path: str, asset: Asset, headers: Mapping[str, str]) -> None:
    sent = {**headers, "etag": asset.etag}

    async def serve(request: Request) -> Response:
        known = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
        if asset.etag in known:
            return Response(status_code=304, headers=sent)
        return Response(asset.content, headers=sent, media_type=asset.media)

    routes.add_api_route(path, serve, methods=["GET", "HEAD"], include_in_schema=False)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    plain = f"{parts.scheme}://{parts.netloc}"
    if url and (parts.scheme not in {"http", "https"} or plain != url.rstrip("/") or not _is_host(parts.netloc)):
        raise SettingsError(f"SYNC_URL is {url!r}; use an origin such as https://sync.example.org")
    return plain if url else ""


def _is_host(netloc: str) -> bool:
    return bool(netloc) and all(char.isascii() and (char.isalnum() or char in ".:-[]") for char in netloc)
