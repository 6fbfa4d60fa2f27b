"""Where a platform in a cluster can be reached: from outside where it is open, else by names that hold inside."""

from __future__ import annotations

from collections.abc import Sequence

from todoctl.adapters.kube.api import Kube, Object
from todoctl.adapters.kube.kinds import INGRESSES, NODES, SERVICES
from todoctl.core.values import Values
from todoctl.errors import TodoctlError
from todoctl.operations.kubernetes.pods import Place, cluster_values


def urls(kube: Kube, values: Values, found: Sequence[Place], database: str) -> dict[str, str]:
    """The same names as on one machine; what browsers use first where the cluster is open to them.

    `database` is where it lies outside of the cluster.
    """
    services = {str(item["metadata"]["name"]): item for item in kube.items(SERVICES)}
    cluster, namespace = cluster_values(values), kube.namespace
    inside = {name: f"http://{name}.{namespace}:{service.port}" for name, service in values.services.items()}
    known = {name: _outside(kube, services[name]) or url if name in services else url for name, url in inside.items()}
    if kube.items(INGRESSES):
        scheme = "https" if cluster.ingress.tls.enabled else "http"
        public = f"{scheme}://{cluster.ingress.host}"
        known |= {name: public for name, service in values.services.items() if service.public}
    known |= {f"{name} metrics": f"{url}/metrics" for name, url in inside.items()}
    # A sidecar listens on its pod's loopback.
    known |= {f"{name} sidecar": "http://127.0.0.1:3500" for name in values.services}
    at = {place.name: place.address for place in found}
    known |= {"kafka": at.get("kafka", cluster.kafka.brokers), "postgres": at.get("postgres", database)}
    known |= {"mail sink": at["mailsink"]} if "mailsink" in at else {}
    return {name: url for name, url in known.items() if url}


def _outside(kube: Kube, service: Object) -> str | None:
    """Where a Service answers from outside of the cluster, None where it does not."""
    kind, entry = service["spec"].get("type"), service["spec"]["ports"][0]
    if kind == "LoadBalancer":
        given = (service.get("status", {}).get("loadBalancer") or {}).get("ingress") or []
        host = next((item.get("hostname") or item.get("ip") for item in given), None)
        scheme = "https" if entry["port"] == 443 else "http"
        return f"{scheme}://{host}:{entry['port']}" if host else None
    if kind == "NodePort":
        return f"http://{host}:{entry['nodePort']}" if (host := _node(kube)) else None
    return None


def _node(kube: Kube) -> str | None:
    try:
        nodes = kube.items(NODES)
    except TodoctlError:
        # Nodes are the cluster's, and who looks after one namespace may not see them.
        return None
    addresses = [item for node in nodes for item in node.get("status", {}).get("addresses") or []]
    for kind in ("ExternalIP", "InternalIP"):
        if found := next((item["address"] for item in addresses if item["type"] == kind), None):
            return str(found)
    return None
