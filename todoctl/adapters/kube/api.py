"""A cluster's REST API. Objects are plain documents, as the server sends them."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from types import TracebackType
from typing import Any, Self

import httpx

from todoctl.adapters.kube.access import Access
from todoctl.adapters.kube.answers import ForbiddenError, KubeError, check, document, no_cluster, unreachable
from todoctl.adapters.kube.kinds import ACCESS_REVIEWS, NAMESPACES, PODS, SECRETS, Kind
from todoctl.errors import UnhealthyError

CONNECT_SECONDS = 5.0  # a server that takes longer to take a connection is away
FIRST_SECONDS = 6.0  # how long a server may take for its first answer: what doesn't answer is to be told within 10 s
ANSWER_SECONDS = 20.0  # how long an answer may take from then on
_AT_ONCE = 500  # objects of a list that are fetched at once
MANAGER = "todoctl"  # whose fields those are that we apply

Object = dict[str, Any]


class Kube:
    """One namespace of one cluster; other namespaces by name. May be used by several threads at once."""

    def __init__(
        self,
        access: Access,
        namespace: str,
        *,
        transport: httpx.BaseTransport | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.access, self.namespace, self._now = access, namespace, now
        self._client = httpx.Client(
            base_url=access.server,
            verify=access.tls or True,
            proxy=access.proxy if transport is None else None,
            timeout=httpx.Timeout(ANSWER_SECONDS, connect=CONNECT_SECONDS),
            trust_env=False,
            transport=transport,
        )
        self._kinds: dict[tuple[str, str], Kind] = {}
        self._has_answered = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def version(self) -> str:
        """The server's version, such as v1.34.0, which proves that it answers."""
        found = self._call("GET", "/version")
        if "gitVersion" not in found:
            raise no_cluster(self.access, f"it tells no version: {json.dumps(found)}")
        return str(found["gitVersion"])

    def has_namespace(self) -> bool:
        """Whether our namespace is there, as far as we may see: who may not look at it may still work in it."""
        try:
            return self.get(NAMESPACES, self.namespace) is not None
        except ForbiddenError:
            return bool(self._call("GET", PODS.path(self.namespace), query={"limit": "1"}))

    def get(self, kind: Kind, name: str, *, namespace: str | None = None) -> Object | None:
        """An object, None where there is none of that name."""
        try:
            return self._call("GET", kind.path(namespace or self.namespace, name))
        except KubeError as error:
            if error.status == httpx.codes.NOT_FOUND:
                return None
            raise

    def items(
        self, kind: Kind, *, selector: str = "", namespace: str | None = None, accept: str = "application/json"
    ) -> list[Object]:
        """All objects that the label selector fits; [] where the server knows no such kind."""
        found: list[Object] = []
        query = {"limit": str(_AT_ONCE)} | ({"labelSelector": selector} if selector else {})
        while True:
            try:
                page = self._call("GET", kind.path(namespace or self.namespace), query=query, accept=accept)
            except KubeError as error:
                if error.status == httpx.codes.NOT_FOUND:
                    return []
                raise
            found += page.get("items") or []
            if not (more := page.get("metadata", {}).get("continue")):
                return found
            query = query | {"continue": str(more)}

    def names(self, kind: Kind, *, selector: str = "", namespace: str | None = None) -> list[Object]:
        """The metadata of all objects that the label selector fits, without what they hold."""
        short = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
        found = self.items(kind, selector=selector, namespace=namespace, accept=short)
        return [dict(item["metadata"]) for item in found]

    def create(self, kind: Kind, document: Object, *, namespace: str | None = None) -> Object:
        """Make an object; KubeError 409 where it is there."""
        return self._call("POST", kind.path(namespace or self.namespace), body=document)

    def apply(
        self, document: Object, *, namespace: str | None = None, force: bool = True, dry_run: bool = False
    ) -> Object:
        """Apply a whole document on the server's side, as ours; of any kind that the server knows."""
        kind = self.kind(str(document["apiVersion"]), str(document["kind"]))
        meta = document["metadata"]
        query = {"fieldManager": MANAGER, "force": str(force).lower()} | ({"dryRun": "All"} if dry_run else {})
        path = kind.path(namespace or meta.get("namespace") or self.namespace, meta["name"])
        return self._call("PATCH", path, query=query, body=document, content="application/apply-patch+yaml")

    def patch(self, kind: Kind, name: str, document: Object, *, namespace: str | None = None) -> Object:
        """Change the keys that the document names (a merge patch); lists are replaced whole."""
        path = kind.path(namespace or self.namespace, name)
        return self._call("PATCH", path, body=document, content="application/merge-patch+json")

    def delete(self, kind: Kind, name: str, *, namespace: str | None = None) -> bool:
        """Delete an object and what it owns, in the background; whether it was there."""
        path = kind.path(namespace or self.namespace, name)
        try:
            self._call("DELETE", path, query={"propagationPolicy": "Background"})
        except KubeError as error:
            if error.status == httpx.codes.NOT_FOUND:
                return False
            raise
        return True

    def kind(self, api: str, kind: str) -> Kind:
        """The kind that documents name so.

        Raises:
            KubeError: the server has no such kind; a definition may be missing.
        """
        if (api, kind) not in self._kinds:
            path = "/api/v1" if api == "v1" else f"/apis/{api}"
            for item in self._call("GET", path)["resources"]:
                if "/" not in item["name"]:
                    self._kinds[api, item["kind"]] = Kind(api, item["name"], bool(item["namespaced"]))
        if (api, kind) not in self._kinds:
            raise KubeError(f"the cluster has no kind {kind} in {api}", status=404, hint="kubectl api-resources")
        return self._kinds[api, kind]

    def may(self, verb: str, kind: Kind, *, part: str = "", namespace: str | None = None) -> bool:
        """Whether we may do that, by the server's own word."""
        group = kind.api.rpartition("/")[0]
        wanted = {"verb": verb, "group": group, "resource": kind.plural, "subresource": part}
        if kind.is_namespaced:
            wanted["namespace"] = namespace or self.namespace
        review = {"apiVersion": ACCESS_REVIEWS.api, "kind": "SelfSubjectAccessReview"}
        answer = self.create(ACCESS_REVIEWS, {**review, "spec": {"resourceAttributes": wanted}})
        return bool(answer.get("status", {}).get("allowed"))

    def secret(self, name: str, *, namespace: str | None = None) -> dict[str, str]:
        """The keys of a Secret with what they hold.

        Raises:
            UnhealthyError: there is no such Secret.
        """
        found = self.get(SECRETS, name, namespace=namespace)
        if found is None:
            where = namespace or self.namespace
            raise UnhealthyError(f"there is no Secret {name} in {where}", hint=f"kubectl get secrets -n {where}")
        # A keystore may lie beside a password.
        held = (found.get("data") or {}).items()
        return {key: base64.b64decode(value).decode(errors="surrogateescape") for key, value in held}

    def logs(
        self,
        pod: str,
        container: str,
        *,
        since: datetime | None = None,
        tail: int | None = None,
        follow: bool = False,
        previous: bool = False,
        namespace: str | None = None,
    ) -> Iterator[str]:
        """Lines of a container's log; with `follow` until it ends."""
        query = {"container": container, "follow": str(follow).lower(), "previous": str(previous).lower()}
        query |= {"sinceTime": since.isoformat()} if since else {}
        query |= {"tailLines": str(tail)} if tail is not None else {}
        path = PODS.path(namespace or self.namespace, pod, "log")
        timeout = httpx.Timeout(None if follow else ANSWER_SECONDS, connect=CONNECT_SECONDS)
        with (
            self._translated(),
            self._client.stream("GET", path, params=query, timeout=timeout, **self._extra()) as answer,
        ):
            if not answer.is_success:
                check(self.access, answer.status_code, answer.read().decode(errors="replace"))
            yield from answer.iter_lines()

    def _call(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        content: str = "application/json",
        accept: str = "application/json",
    ) -> Object:
        extra = self._extra()
        extra["headers"] |= {"accept": accept} | ({"content-type": content} if body is not None else {})
        seconds = ANSWER_SECONDS if self._has_answered else FIRST_SECONDS
        extra["timeout"] = httpx.Timeout(seconds, connect=CONNECT_SECONDS)
        sent = None if body is None else json.dumps(body)
        with self._translated(), self._client.stream(method, path, params=query, content=sent, **extra) as answer:
            text = self._whole(answer, seconds)
        found = document(text)
        if found is None and not self._has_answered and answer.status_code != httpx.codes.UNAUTHORIZED:
            # A page that asks to log in, a proxy's refusal, another program on that port: it says nothing of a cluster.
            raise no_cluster(self.access, f"{answer.status_code} {text}")
        check(self.access, answer.status_code, text)
        if found is None:
            raise no_cluster(self.access, text)
        self._has_answered = True
        return found

    def _whole(self, answer: httpx.Response, seconds: float) -> str:
        """An answer's text; httpx's own limit of time holds for each piece of it alone."""
        deadline, pieces = self._now() + seconds, []
        for piece in answer.iter_bytes():
            pieces.append(piece)
            if self._now() > deadline:
                raise httpx.ReadTimeout(f"the answer was not whole after {seconds:.0f} s")
        return b"".join(pieces).decode(errors="replace")

    def _extra(self) -> dict[str, Any]:
        name = self.access.server_name
        return {"headers": self.access.headers(), "extensions": {"sni_hostname": name} if name else {}}

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except httpx.HTTPError as error:
            raise unreachable(self.access, error) from error
