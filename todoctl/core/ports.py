"""The ports of a platform on one machine: which names they are recorded under, and which are asked for first."""

from __future__ import annotations

from collections.abc import Mapping

from todoctl.core.values import Values

LOOPBACK = "127.0.0.1"

# All below 32768: above it the system gives ports to outgoing connections, and any of them may hold one for a while.
DEFAULT_PORTS = {
    "postgres": 5432,
    "kafka": 9092,
    "kafka-controller": 9093,
    "scheduler": 5006,
    "scheduler-health": 8080,
    "scheduler-etcd-client": 2379,
    "scheduler-etcd-peer": 2380,
    "mailsink": 1025,
}
_SIDECAR_PORTS = {"http": 3500, "grpc": 4500, "internal": 5500, "metrics": 9190}


def default_ports(values: Values) -> dict[str, int]:
    """The ports asked for first, by name; a service's own port comes from the chart."""
    ports = {**DEFAULT_PORTS, **{name: service.port for name, service in values.services.items()}}
    for index, name in enumerate(values.services):
        ports |= {sidecar_port(name, kind): base + index for kind, base in _SIDECAR_PORTS.items()}
    return ports


def sidecar_port(service: str, kind: str) -> str:
    """The name under which a sidecar's port is recorded."""
    return f"{service}-dapr-{kind}"


def sidecar_ports(service: str, ports: Mapping[str, int]) -> dict[str, int]:
    """Kind of port → port of a service's sidecar, out of all ports that are recorded."""
    return {kind: ports[sidecar_port(service, kind)] for kind in _SIDECAR_PORTS}
