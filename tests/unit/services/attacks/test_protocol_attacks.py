"""Attacks 28 to 30: requests that can be read in two ways, methods, pages of other origins."""

from __future__ import annotations

from tests.unit.services.attacks.wire import request, say
from tests.unit.services.stand import NAMES, ORIGIN, Stand

LOGIN = "POST /api/auth/login HTTP/1.1"
SMUGGLED = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
TWO_WAYS = {
    "both lengths": request(LOGIN, "Content-Length: 4", "Transfer-Encoding: chunked") + b"0\r\n\r\n" + SMUGGLED,
    "both, the other way round": request(LOGIN, "Transfer-Encoding: chunked", "Content-Length: 4")
    + b"0\r\n\r\n"
    + SMUGGLED,
    "two lengths": request(LOGIN, "Content-Length: 0", "Content-Length: 35") + SMUGGLED,
    "two equal lengths": request(LOGIN, "Content-Length: 2", "Content-Length: 2") + b"{}" + SMUGGLED,
    "a list of lengths": request(LOGIN, "Content-Length: 2, 2") + b"{}" + SMUGGLED,
    "a negative length": request(LOGIN, "Content-Length: -1") + SMUGGLED,
    "a length with a sign": request(LOGIN, "Content-Length: +2") + b"{}" + SMUGGLED,
    "a length in hex": request(LOGIN, "Content-Length: 0x2") + b"{}" + SMUGGLED,
    "a length too long": request(LOGIN, "Content-Length: 99999999999999999999") + SMUGGLED,
    "an odd coding": request(LOGIN, "Transfer-Encoding: xchunked") + b"0\r\n\r\n" + SMUGGLED,
    "chunked is not last": request(LOGIN, "Transfer-Encoding: chunked, identity") + b"0\r\n\r\n" + SMUGGLED,
    "two codings": request(LOGIN, "Transfer-Encoding: chunked", "Transfer-Encoding: cow") + b"0\r\n\r\n" + SMUGGLED,
    "a space before the colon": request(LOGIN, "Content-Length : 35") + SMUGGLED,
    "a folded line": request(LOGIN, "Content-Length: 0", " , 35") + SMUGGLED,
    "a line that begins with a blank": request(LOGIN, " Transfer-Encoding: chunked") + SMUGGLED,
    "only line feeds": request(LOGIN, "Content-Length: 0").replace(b"\r\n", b"\n"),
    "a bare return": request(LOGIN, "X: a\rContent-Length: 35") + SMUGGLED,
    "a NUL in a value": request(LOGIN, "X: a\0b") + SMUGGLED,
    "no name": request(LOGIN, ": x") + SMUGGLED,
    "a chunk size that is none": request(LOGIN, "Transfer-Encoding: chunked") + b"0x0\r\n\r\n" + SMUGGLED,
    "a negative chunk": request(LOGIN, "Transfer-Encoding: chunked") + b"-1\r\n\r\n" + SMUGGLED,
    "a huge chunk": request(LOGIN, "Transfer-Encoding: chunked") + b"f" * 20 + b"\r\n\r\n" + SMUGGLED,
    "a chunk that does not end": request(LOGIN, "Transfer-Encoding: chunked") + b"2\r\n{}XX0\r\n\r\n" + SMUGGLED,
    "a bad version": request("GET /healthz HTTP/9.9") + SMUGGLED,
    "no version": b"GET /healthz\r\n\r\n",
    "garbage": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "two spaces": request("GET  /healthz HTTP/1.1", "Connection: close").replace(b"  ", b"\t"),
}


def test_attack_28_two_readings(target: Stand) -> None:
    """A request that a proxy may read in another way is a 400 as a problem, and nothing after it is read."""
    for name, raw in TWO_WAYS.items():
        for service in ("auth", "api"):
            heard = say(target.ports[service], raw)
            assert (heard.statuses, heard.is_closed) == ([400], True), (name, service, heard.raw[:300])
            assert heard.problem["code"] in {"malformed", "invalid"}, name
            assert heard.problem["status"] == 400
    # Sound requests on one connection are answered in their order, and what is wrong after them is only the end.
    pair = request("GET /healthz HTTP/1.1") + request("GET /nowhere HTTP/1.1", "Connection: close")
    assert say(target.ports["api"], pair).statuses == [200, 404]
    broken = say(target.ports["api"], request("GET /readyz HTTP/1.1") + b"garbage\r\n\r\n")
    assert broken.is_closed
    assert broken.statuses in ([], [200])


def test_attack_29_methods(target: Stand) -> None:
    """Another method is a 405, a made-up one a 400, whatever a header or a parameter would make of it."""
    task = target.create(user="t29")
    path = f"/api/tasks/{task['id']}"
    for method in ("PUT", "POST", "TRACE", "OPTIONS", "HEAD", "PROPFIND", "LOCK"):
        answer = target.call(method, path, user="t29")
        assert answer.status_code == 405, method
        assert answer.headers["allow"] == "DELETE, GET, PATCH"
        assert answer.headers["content-type"] == "application/problem+json"
    for service in NAMES:
        traced = target.http.request("TRACE", target.url(service, "/healthz"), headers={"x-secret": "canary"})
        assert (traced.status_code, "canary" in traced.text) == (405, False)
        heard = say(target.ports[service], request("BREW /healthz HTTP/1.1"))
        assert (heard.statuses, heard.problem["code"]) == ([400], "malformed")
        assert say(target.ports[service], request("CONNECT evil.example:443 HTTP/1.1")).statuses[0] in {400, 404}
        assert say(target.ports[service], request("get /healthz HTTP/1.1")).statuses == [400]
    override = {"x-http-method-override": "DELETE", "x-http-method": "DELETE", "x-method-override": "DELETE"}
    for params in ({}, {"_method": "DELETE"}):
        assert target.call("POST", path, user="t29", headers=override, params=params).status_code == 405
        assert target.call("GET", path, user="t29", headers=override, params=params).status_code in {200, 422}
    assert target.call("GET", path, user="t29").json() == task


FOREIGN = (
    "http://evil.example",
    "null",
    f"{ORIGIN}.evil.example",
    "http://page.example:81",
    "https://page.example",
    "file://",
    "",
)


def test_attack_30_other_origins(target: Stand) -> None:
    """No answer lets a page of another origin read it, with or without credentials."""
    for service in NAMES:
        for path in ("/api/tasks", "/api/auth/login", "/api/audit/logs", "/healthz", "/"):
            for origin in FOREIGN:
                asks = {"origin": origin, "access-control-request-method": "POST", "cookie": "a=b"}
                for method in ("OPTIONS", "GET", "POST"):
                    answer = target.http.request(method, target.url(service, path), headers=asks | target.bearer("t30"))
                    told = [name for name in answer.headers if name.startswith("access-control-")]
                    assert told == [], (service, path, origin, method)
    socket = target.url("sync", "/socket.io/?EIO=4&transport=polling")
    for origin in FOREIGN[:-1]:
        answer = target.http.get(socket, headers={"origin": origin})
        assert answer.status_code == 400
        assert "access-control-allow-origin" not in answer.headers
    ours = target.http.get(socket, headers={"origin": ORIGIN})
    assert ours.headers["access-control-allow-origin"] == ORIGIN
    assert "access-control-allow-credentials" not in ours.headers
    # A form of another page can send no JSON.
    for media in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        answer = target.call(
            "POST", "/api/tasks", user="t30", content=b'{"title": "x"}', headers={"content-type": media}
        )
        assert answer.status_code == 415
