"""Who is on the other end: the connection's own address, or the one that a service of ours passed on."""

from __future__ import annotations

import hmac

from fastapi import Request

# Set by the service that forwards, never copied from a client.
ADDRESS_HEADER = "x-client-address"
_LONGEST = 64


def client_address(request: Request, app_token: str) -> str:
    """The client's address; a header counts only with the token that the sidecar adds to its calls.

    X-Forwarded-For is whatever a client likes it to be.
    """
    given = request.headers.get("dapr-api-token", "")
    passed_on = request.headers.getlist(ADDRESS_HEADER)
    if app_token and len(passed_on) == 1 and hmac.compare_digest(given.encode("latin-1"), app_token.encode()):
        return passed_on[0][:_LONGEST]
    return request.client.host if request.client else "unknown"
