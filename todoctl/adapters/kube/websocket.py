"""WebSockets to the API server: what `exec` and `portforward` of a pod speak."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

from todoctl.adapters.kube.access import Access
from todoctl.adapters.kube.answers import check, unreachable
from todoctl.adapters.kube.api import CONNECT_SECONDS

_PROTOCOL = "v4.channel.k8s.io"  # every frame begins with the number of its channel


@asynccontextmanager
async def opened(access: Access, path: str, query: list[tuple[str, str]]) -> AsyncIterator[Any]:
    """A WebSocket to a path of the API server, closed at the end.

    Raises:
        KubeError: the server refuses it.
        UnreachableError: the server does not answer.
    """
    from websockets.asyncio.client import connect
    from websockets.exceptions import InvalidStatus, WebSocketException
    from websockets.typing import Subprotocol

    address = access.server.replace("http", "ws", 1) + f"{path}?{urlencode(query)}"
    try:
        link = await connect(
            address,
            subprotocols=[Subprotocol(_PROTOCOL)],
            additional_headers=await asyncio.to_thread(access.headers),
            compression=None,
            proxy=access.proxy,
            open_timeout=CONNECT_SECONDS,
            ping_interval=None,
            max_size=None,
            **_tls(access),
        )
    except InvalidStatus as error:
        check(access, error.response.status_code, bytes(error.response.body or b"").decode(errors="replace"))
        raise
    except (WebSocketException, OSError, TimeoutError) as error:
        raise unreachable(access, error) from error
    try:
        yield link
    finally:
        await _closed(link)


async def _closed(link: Any) -> None:
    """Say goodbye and wait for the answer; the library leaves the connection open when that waiting is cancelled."""
    try:
        await link.close()
    except asyncio.CancelledError:
        link.transport.abort()
        raise


def _tls(access: Access) -> dict[str, Any]:
    if access.tls is None:
        return {}
    return {"ssl": access.tls} | ({"server_hostname": access.server_name} if access.server_name else {})
