"""The addresses that a cloud gives to Services of type LoadBalancer, and the DNS records to set for them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from urllib.parse import urlsplit

from todoctl.adapters.helm import Object
from todoctl.adapters.kube.api import Kube
from todoctl.adapters.kube.kinds import INGRESSES, SERVICES
from todoctl.core.cluster_values import Cluster
from todoctl.errors import WaitTimeoutError
from todoctl.operations.operators.site import Clock
from todoctl.operations.steps import StepEvent

_EVERY = 2.0


def wait(
    kube: Kube, cluster: Cluster, objects: Sequence[Object], clock: Clock, *, seconds: float
) -> Iterator[StepEvent]:
    """Wait until each has one; yields the DNS record for it. An Ingress is told where it has one already.

    Raises:
        WaitTimeoutError: one has none; the release runs.
    """
    since = clock.now()
    names = [str(item["metadata"]["name"]) for item in objects if _is_balanced(item)]
    for name in names:
        yield StepEvent(f"address of {name}", "starting", "waits for the cloud's balancer", clock.now() - since)
        while not (found := _address(kube.get(SERVICES, name))):
            if clock.now() - since >= seconds:
                raise WaitTimeoutError(
                    f"the release runs; its Service {name} got no address from the cloud within {seconds:.0f} s",
                    hint=f"kubectl describe service {name} -n {kube.namespace}; todoctl open shows it once it is there",
                )
            clock.pause(_EVERY)
        host = urlsplit(cluster.urls.sockets).hostname or name
        yield StepEvent(f"address of {name}", "ready", record(host, found), clock.now() - since)
    for item in kube.items(INGRESSES) if cluster.ingress.enabled else ():
        if found := _address(item):
            name = f"address of {item['metadata']['name']}"
            yield StepEvent(name, "ready", record(cluster.ingress.host, found), clock.now() - since)


def record(host: str, address: str) -> str:
    """The DNS record that makes a host lead to an address: A, AAAA or CNAME."""
    try:
        kind = "A" if ipaddress.ip_address(address).version == 4 else "AAAA"
    except ValueError:
        kind = "CNAME"
    return f"set in DNS: {host} {kind} {address}"


def _is_balanced(item: Object) -> bool:
    return bool(item["kind"] == "Service" and item["spec"].get("type") == "LoadBalancer")


def _address(item: Object | None) -> str:
    ingress = ((item or {}).get("status") or {}).get("loadBalancer", {}).get("ingress") or []
    return next((str(entry.get("ip") or entry.get("hostname") or "") for entry in ingress), "")
