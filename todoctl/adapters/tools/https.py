"""Downloads over HTTPS that notice soon when the host can't be reached."""

from __future__ import annotations

import queue
import socket
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

from todoctl.adapters.tools.model import UnavailableError
from todoctl.adapters.tools.site import Site

REACH_SECONDS = 3.0
_TIMEOUT = (REACH_SECONDS, 30.0, 30.0, 30.0)  # connect, read, write, pool


def reach(site: Site, url: str, seconds: float = REACH_SECONDS) -> None:
    """Return when the host accepts a connection; behind a proxy that can't be told and is left to the download.

    Raises:
        UnavailableError: it does not, within `seconds`; a resolver that hangs counts as that.
    """
    if any(site.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")):
        return
    parts = urllib.parse.urlsplit(url)
    answer: queue.Queue[str] = queue.Queue()

    def connect() -> None:
        try:
            socket.create_connection((parts.hostname, parts.port or 443), timeout=seconds).close()
            answer.put("")
        except OSError as error:
            answer.put(str(error))

    # In a thread, because nothing bounds the time that name resolution takes.
    threading.Thread(target=connect, daemon=True).start()
    try:
        problem = answer.get(timeout=seconds)
    except queue.Empty:
        problem = f"no answer within {seconds:.0f} s"
    if problem:
        raise UnavailableError(f"the release host {parts.hostname} can't be reached: {problem}")


def text(url: str) -> str:
    """The text at `url`.

    Raises:
        UnavailableError: it can't be had.
    """
    import httpx

    try:
        return httpx.get(url, follow_redirects=True, timeout=_TIMEOUT).raise_for_status().text
    except httpx.HTTPError as error:
        raise UnavailableError(f"{url}: {_words(error)}") from error


def download(site: Site, url: str, target: Path) -> Iterator[tuple[int, int]]:
    """Put what is at `url` into `target`; gives the bytes so far and in all (0 when unknown).

    Raises:
        UnavailableError: it can't be had.
    """
    import httpx

    try:
        with (
            httpx.stream("GET", url, follow_redirects=True, timeout=_TIMEOUT) as response,
            target.open("wb") as file,
        ):
            response.raise_for_status()
            total, done = int(response.headers.get("content-length", 0)), 0
            for chunk in response.iter_bytes(1024 * 1024):
                site.children.check()
                done += file.write(chunk)
                yield done, total
    except httpx.HTTPError as error:
        raise UnavailableError(f"{url}: {_words(error)}") from error


def _words(error: Exception) -> str:
    import httpx

    if isinstance(error, httpx.HTTPStatusError):
        return f"the host answers {error.response.status_code} {error.response.reason_phrase}"
    return str(error) or type(error).__name__
