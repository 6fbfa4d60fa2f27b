"""How this machine reaches what a platform in a cluster uses: directly where it can, else by a port that leads into a pod."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from todoctl.adapters.kube.answers import ForbiddenError, KubeError
from todoctl.adapters.kube.api import Kube, Object
from todoctl.adapters.kube.kinds import PODS, SERVICES
from todoctl.adapters.kube.streams import Streams, Target
from todoctl.core.ports import LOOPBACK
from todoctl.errors import UnhealthyError

_SECONDS = 3.0  # how long a server outside may take to take a connection


@dataclass
class Reach:
    """Ports of this machine that lead into the cluster, opened when they are first asked for and kept."""

    kube: Kube
    streams: Streams
    _ports: dict[tuple[str, str, int], int] = field(default_factory=dict)
    _opening: Lock = field(default_factory=Lock)

    def service(self, name: str, *, at: int = 0) -> str:
        """`127.0.0.1:PORT` that leads to the first port of a Service; the port `at`, where one is asked for.

        Raises:
            UnhealthyError: there is no such Service, no pod of it is ready, or the port is taken.
        """
        home = self.kube.namespace
        found = self.kube.get(SERVICES, name, namespace=home)
        if found is None:
            raise UnhealthyError(
                f"there is no Service {name} in the namespace {home}: nothing is deployed there", hint="todoctl deploy"
            )
        wanted = int(found["spec"]["ports"][0]["port"])
        # What is wrong is told now, in words; later there would only be a connection that ends.
        self._target(found, wanted)
        key = (home, name if not at else f"{name} at {at}", wanted)
        return self._opened(key, lambda: self._target(self._service(home, name), wanted), at=at)

    def pod(self, name: str, port: int, *, namespace: str | None = None) -> str:
        """`127.0.0.1:PORT` that leads to a port of a pod, one that listens on the pod's loopback alone included."""
        target = Target(namespace or self.kube.namespace, name, port)
        return self._opened((target.namespace, f"pod/{name}", port), lambda: target)

    def inside(self, host: str, port: int) -> Target | None:
        """The pod behind a name of the cluster's own; None for what lies outside of it."""
        if _is_address(host):
            return None
        labels = host.rstrip(".").split(".")
        if len(labels) >= 4 and labels[3] == "svc":
            # POD.SERVICE.NAMESPACE.svc, as brokers advertise themselves
            return Target(labels[2], labels[0], port)
        if len(labels) > 2 and labels[2] != "svc":
            return None
        namespace = labels[1] if len(labels) > 1 else self.kube.namespace
        try:
            found = self.kube.get(SERVICES, labels[0], namespace=namespace)
        except (ForbiddenError, KubeError):
            return None
        if found is None or found["spec"].get("type") == "ExternalName":
            return None
        return self._target(found, port)

    def url(self, url: str) -> str:
        """A database's URL as this machine can use it; the server still proves to be the one that the URL names.

        Raises:
            UnhealthyError: the server is not reached from here.
        """
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 5432
        if self.inside(host, port) is None:
            require_open("the database", [(host, port)])
            return url
        local = self._opened(("", host, port), lambda: self._found(host, port))
        account, at, _ = parts.netloc.rpartition("@")
        # libpq goes to hostaddr and checks certificates against host.
        query = urlencode([*parse_qsl(parts.query), ("hostaddr", LOOPBACK)])
        there = f"{account}{at}{host}:{local.rpartition(':')[2]}"
        return urlunsplit((parts.scheme, there, parts.path, query, ""))

    def _found(self, host: str, port: int) -> Target:
        found = self.inside(host, port)
        if found is None:
            raise UnhealthyError(f"{host} is no longer in the cluster", hint="todoctl status")
        return found

    def _opened(self, key: tuple[str, str, int], target: Callable[[], Target], *, at: int = 0) -> str:
        with self._opening:
            if key not in self._ports:
                try:
                    self._ports[key] = self.streams.forward(target, port=at)
                except OSError as error:
                    raise UnhealthyError(
                        f"the port {at} of this machine can't be used: {error.strerror}",
                        hint="end what listens there, or choose others in the values: kubernetes.urls",
                    ) from error
            return f"{LOOPBACK}:{self._ports[key]}"

    def _service(self, namespace: str, name: str) -> Object:
        found = self.kube.get(SERVICES, name, namespace=namespace)
        if found is None:
            raise UnhealthyError(f"the Service {name} is gone", hint="todoctl status")
        return found

    def _target(self, service: Object, port: int) -> Target:
        """A ready pod behind a Service, the newest one, which lives longest in a rolling update."""
        namespace, name = str(service["metadata"]["namespace"]), str(service["metadata"]["name"])
        wanted = ",".join(f"{key}={value}" for key, value in (service["spec"].get("selector") or {}).items())
        pods = self.kube.items(PODS, selector=wanted, namespace=namespace) if wanted else []
        ready = sorted(filter(is_ready, pods), key=lambda pod: str(pod["metadata"]["creationTimestamp"]))
        if not ready:
            raise UnhealthyError(
                f"none of the {len(pods)} pods of {name} in {namespace} is ready", hint="todoctl status; todoctl doctor"
            )
        entry: Mapping[str, Any] = next(
            (item for item in service["spec"]["ports"] if item["port"] == port), {"targetPort": port}
        )
        return Target(namespace, str(ready[-1]["metadata"]["name"]), _number(ready[-1], entry.get("targetPort", port)))


def require_open(what: str, addresses: list[tuple[str, int]]) -> None:
    """Return when one of the addresses takes connections from this machine.

    Raises:
        UnhealthyError: none does.
    """
    reasons = []
    for address in addresses:
        try:
            with socket.create_connection(address, timeout=_SECONDS):
                return
        except OSError as error:
            reasons.append(f"{address[0]}:{address[1]}: {error}")
    raise UnhealthyError(
        f"{what} lies outside the cluster and can't be reached from this machine: {'; '.join(reasons)}",
        hint="run todoctl where it can be reached: from the network that the database and the broker let in",
    )


def is_ready(pod: Object) -> bool:
    """Whether a pod takes requests."""
    conditions = pod.get("status", {}).get("conditions") or []
    ready = any(item["type"] == "Ready" and item["status"] == "True" for item in conditions)
    return ready and not pod["metadata"].get("deletionTimestamp")


def _number(pod: Object, port: Any) -> int:
    """A port's number, also where it is given by its name."""
    if isinstance(port, int) or str(port).isdigit():
        return int(port)
    for container in pod["spec"]["containers"]:
        for item in container.get("ports") or []:
            if item.get("name") == port:
                return int(item["containerPort"])
    raise UnhealthyError(f"the pod {pod['metadata']['name']} has no port called {port}", hint="todoctl doctor")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
