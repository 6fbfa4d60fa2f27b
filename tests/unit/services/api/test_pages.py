"""The page's files and its configuration, as api serves them."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from services.api.pages import SOCKET_CLIENT, STATIC, WebSettings, make_router, policy
from services.common.settings import SettingsError


def client(settings: WebSettings) -> httpx.AsyncClient:
    """A browser of a site with these settings."""
    app = FastAPI(openapi_url=None)
    app.include_router(make_router(settings))
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://page")


@pytest.fixture
def vendor(tmp_path: Path) -> Path:
    """A folder with the Socket.IO client, and one more file that is none of the page's."""
    (tmp_path / SOCKET_CLIENT).write_text("export const io = 1;")
    (tmp_path / "LICENSE").write_text("MIT")
    return tmp_path


async def test_every_file_is_served_with_its_type_and_the_policy() -> None:
    """HTML, styles, modules and drawings; the document at / only."""
    async with client(WebSettings()) as http:
        for file in STATIC.rglob("*.*"):
            path = f"/{file.relative_to(STATIC).as_posix()}".replace("/index.html", "/")
            answer = await http.get(path)
            assert answer.status_code == 200, path
            assert answer.content == file.read_bytes()
            assert answer.headers["content-security-policy"] == policy("")
            assert answer.headers["cache-control"] == "no-cache"
        assert (await http.get("/js/main.js")).headers["content-type"].startswith("text/javascript")
        assert (await http.get("/index.html")).status_code == 404


@pytest.mark.parametrize(
    "path", ["/../pages.py", "/%2e%2e/%2e%2e/api/pages.py", "/js/", "/vendor/LICENSE", "/js/../../x"]
)
async def test_nothing_else_is(vendor: Path, path: str) -> None:
    """There is one route for each known file, so no path leads anywhere else."""
    async with client(WebSettings(vendor=vendor)) as http:
        assert (await http.get(path)).status_code == 404


async def test_an_unchanged_file_is_not_sent_again() -> None:
    """A known ETag, weak or one of several, gets 304 without a body."""
    async with client(WebSettings()) as http:
        etag = (await http.get("/style.css")).headers["etag"]
        for known in (etag, f'"other", W/{etag}'):
            answer = await http.get("/style.css", headers={"if-none-match": known})
            assert (answer.status_code, answer.content) == (304, b"")
        assert (await http.get("/style.css", headers={"if-none-match": '"other"'})).status_code == 200


async def test_the_page_is_told_of_sync_when_its_client_is_there(vendor: Path) -> None:
    """Address and module come together or not at all; the policy lets exactly them through."""
    address = "http://127.0.0.1:8005"
    async with client(WebSettings(address, vendor)) as http:
        config = (await http.get("/api/config")).json()
        assert config == {"sync_url": address, "sync_client": f"/vendor/{SOCKET_CLIENT}"}
        assert (await http.get(config["sync_client"])).text == "export const io = 1;"
        assert (
            f"connect-src 'self' {address} ws://127.0.0.1:8005;"
            in (await http.get("/")).headers["content-security-policy"]
        )
    async with client(WebSettings(address)) as http:
        assert (await http.get("/api/config")).json() == {"sync_url": "", "sync_client": ""}
        assert (await http.get(f"/vendor/{SOCKET_CLIENT}")).status_code == 404


def test_settings_come_from_the_environment(tmp_path: Path) -> None:
    """Both are optional; a folder without the module is none."""
    assert WebSettings.from_environ({}) == WebSettings()
    read = WebSettings.from_environ({"SYNC_URL": "https://sync.example.org/", "WEB_VENDOR": str(tmp_path)})
    assert (read.sync_url, read.client) == ("https://sync.example.org", None)
    assert "wss://sync.example.org" in policy(read.sync_url)


@pytest.mark.parametrize(
    "url",
    [
        "sync",
        "ftp://x",
        "http://",
        "http://a/b",
        "http://a; script-src *",
        "http://a b",
        "http://u@a",
        "https://a\nx",
        "http://*",
    ],
)
def test_what_is_no_origin_never_reaches_the_policy(url: str) -> None:
    """A setting that could loosen the policy stops the service instead."""
    with pytest.raises(SettingsError, match="SYNC_URL"):
        WebSettings.from_environ({"SYNC_URL": url})


def test_the_files_hold_no_way_from_text_to_markup() -> None:
    """No module writes markup, evaluates text or loads anything from elsewhere."""
    for file in STATIC.rglob("*.js"):
        text = file.read_text()
        for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function", "://"):
            assert way not in text.replace("http://www.w3.org/2000/svg", ""), (file.name, way)
