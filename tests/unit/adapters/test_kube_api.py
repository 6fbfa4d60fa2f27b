"""The cluster's REST API as todoctl asks it, and what its refusals mean."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator

import httpx
import pytest

from todoctl.adapters.kube import answers, api
from todoctl.adapters.kube.access import Access
from todoctl.adapters.kube.kinds import DEPLOYMENTS, PODS, SECRETS
from todoctl.errors import UnhealthyError

Answer = Callable[[httpx.Request], httpx.Response]


def kube(answer: Answer) -> api.Kube:
    """A cluster that answers so."""
    at = Access("test", "http://cluster.test", authorization=lambda: "Bearer token")
    return api.Kube(at, "todo", transport=httpx.MockTransport(answer))


def refused(status: int, message: str) -> Answer:
    """A server that always refuses."""
    return lambda _request: httpx.Response(status, json={"kind": "Status", "message": message})


def test_lists_are_whole() -> None:
    """A long list comes in pages."""
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append((request.url.path, dict(request.url.params), request.headers["authorization"]))
        more = "" if request.url.params.get("continue") else "next"
        return httpx.Response(200, json={"metadata": {"continue": more}, "items": [{"page": more}]})

    assert kube(answer).items(PODS, selector="app=x") == [{"page": "next"}, {"page": ""}]
    first = {"limit": "500", "labelSelector": "app=x"}
    path, token = "/api/v1/namespaces/todo/pods", "Bearer token"
    assert asked == [(path, first, token), (path, {**first, "continue": "next"}, token)]


def test_what_is_not_there_is_no_error() -> None:
    """Neither an object nor a kind."""
    nothing = kube(refused(404, "not found"))
    assert nothing.get(DEPLOYMENTS, "api") is None
    assert nothing.items(DEPLOYMENTS) == []
    assert nothing.delete(DEPLOYMENTS, "api") is False
    with pytest.raises(UnhealthyError, match="no Secret x in todo"):
        nothing.secret("x")


def test_no_rights_are_a_missing_permission() -> None:
    """Exit code 9, with the server's own words."""
    for status, message in ((401, "Unauthorized"), (403, 'pods is forbidden: User "me" cannot list resource "pods"')):
        with pytest.raises(answers.ForbiddenError, match=message) as caught:
            kube(refused(status, message)).items(PODS)
        assert caught.value.exit_code == 9


def test_a_refused_pod_is_no_matter_of_rights() -> None:
    """Admission answers 403 as well."""
    with pytest.raises(answers.KubeError, match="violates PodSecurity") as caught:
        kube(refused(403, 'pods "x" is forbidden: violates PodSecurity')).create(PODS, {})
    assert (caught.value.status, caught.value.exit_code) == (403, 1)


def test_a_server_that_is_away() -> None:
    """Exit code 3, with the context, the address and the reason."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        address = f"http://127.0.0.1:{gone.getsockname()[1]}"
    with pytest.raises(
        answers.UnreachableError, match=f"'test' \\({address}\\) can't be reached: ConnectError"
    ) as caught:
        api.Kube(Access("test", address), "todo").version()
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (200, "<html>\n<title>Log in</title>"),
        (200, ""),
        (200, "null"),
        (200, "{}"),
        (302, ""),
        (403, "<h1>Blocked</h1>"),
        (404, ""),
        (503, "no healthy upstream"),
    ],
)
def test_what_answers_is_no_cluster(status: int, said: str) -> None:
    """A page that asks to log in, a proxy, another program on that port: none of it tells anything of our objects."""
    there = kube(lambda _request: httpx.Response(status, text=said))
    with pytest.raises(
        UnhealthyError, match=r"'test' \(http://cluster\.test\) can't be reached: what answers"
    ) as caught:
        there.version()
    assert "\n" not in caught.value.message
    if said != "{}":
        with pytest.raises(UnhealthyError, match="no API server of Kubernetes"):
            there.has_namespace()


def test_a_cluster_that_answered_may_have_no_such_api() -> None:
    """That answer alone is in plain words; an answer that is no document is told as such at any time."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/version":
            return httpx.Response(200, json={"gitVersion": "v1"})
        return httpx.Response(404, text="404 page not found") if "deploy" in request.url.path else httpx.Response(200)

    there = kube(answer)
    assert there.version() == "v1"
    assert there.get(DEPLOYMENTS, "api") is None
    with pytest.raises(UnhealthyError, match="no API server of Kubernetes"):
        there.items(PODS)


class Drip(httpx.SyncByteStream):
    """An answer that never ends, each piece of it a second late by the clock that it moves."""

    def __init__(self, clock: list[float]) -> None:
        self.clock = clock

    def __iter__(self) -> Iterator[bytes]:
        while True:
            self.clock[0] += 1
            yield b" "


def test_an_answer_that_never_ends() -> None:
    """The first one has 6 s, whole: who waits is to be told within 10 s; later ones may take longer."""
    clock = [0.0]
    at = Access("test", "http://cluster.test", proxy="http://me:hidden@proxy.test:3128")
    transport = httpx.MockTransport(lambda _request: httpx.Response(200, stream=Drip(clock)))
    there = api.Kube(at, "todo", transport=transport, now=lambda: clock[0])
    with pytest.raises(UnhealthyError, match=r"by the proxy proxy\.test: it takes connections and does not answer"):
        there.version()
    assert api.FIRST_SECONDS <= clock[0] <= api.FIRST_SECONDS + 2


def test_secrets_are_decoded() -> None:
    """Plain values come out."""
    there = kube(lambda _request: httpx.Response(200, json={"data": {"a": "YmM=", "empty": ""}}))
    assert there.secret("x") == {"a": "bc", "empty": ""}
    assert kube(lambda _request: httpx.Response(200, json={"data": None})).secret("x") == {}
    beside = kube(lambda _request: httpx.Response(200, json={"data": {"a": "YmM=", "keystore": "/u3+7Q=="}}))
    assert beside.secret("x")["a"] == "bc"


def test_apply_finds_the_kind_and_says_whose_fields_they_are() -> None:
    """Any kind that the server knows, on the server's side."""
    seen = {}

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            kinds = [
                {"name": "things", "kind": "Thing", "namespaced": True},
                {"name": "things/status", "kind": "Thing"},
            ]
            return httpx.Response(200, json={"resources": kinds})
        seen["url"], seen["body"] = request.url, json.loads(request.content)
        seen["content"] = request.headers["content-type"]
        return httpx.Response(200, json={"done": True})

    document = {"apiVersion": "x.test/v1", "kind": "Thing", "metadata": {"name": "t", "namespace": "other"}}
    assert kube(answer).apply(document, dry_run=True) == {"done": True}
    assert seen["url"].path == "/apis/x.test/v1/namespaces/other/things/t"
    assert dict(seen["url"].params) == {"fieldManager": "todoctl", "force": "true", "dryRun": "All"}
    assert (seen["body"], seen["content"]) == (document, "application/apply-patch+yaml")
    with pytest.raises(answers.KubeError, match=r"no kind Other in x\.test/v1"):
        kube(answer).apply({**document, "kind": "Other"})


def test_rights_are_asked_for() -> None:
    """The server's own word, for a part of an object as well."""
    asked = {}

    def answer(request: httpx.Request) -> httpx.Response:
        asked.update(json.loads(request.content)["spec"]["resourceAttributes"])
        return httpx.Response(201, json={"status": {"allowed": False}})

    assert kube(answer).may("create", PODS, part="portforward") is False
    assert asked == {
        "verb": "create",
        "group": "",
        "resource": "pods",
        "subresource": "portforward",
        "namespace": "todo",
    }
    kube(answer).may("list", SECRETS, namespace="other")
    assert asked["namespace"] == "other"


def test_logs_are_lines() -> None:
    """Of one container, refusals included."""
    there = kube(lambda request: httpx.Response(200, text=f"{request.url.params['container']}\ntwo\n"))
    assert list(there.logs("pod", "app", tail=2)) == ["app", "two"]
    with pytest.raises(answers.KubeError, match="is waiting to start"):
        list(kube(refused(400, 'container "app" is waiting to start')).logs("pod", "app"))
