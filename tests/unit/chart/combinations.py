"""Values that people combine, each with a name: every one of them has to give a chart without findings."""

from __future__ import annotations

from typing import Any

from tests.helm import merged, nested

DIGEST = "sha256:" + "ab" * 32
SERVICES = ("api", "audit", "auth", "notification", "recurring", "sync")


def sealed(*keys: str) -> dict[str, Any]:
    """Secrets that come sealed."""
    return {key: {"source": "sealed", "sealed": {"token": "AgBx", "password": "AgBy"}} for key in keys}


_EVERYTHING = merged(
    nested("kubernetes.ingress.enabled", True),
    nested("kubernetes.monitoring.enabled", True),
    nested("kubernetes.traceCollector", {"address": "otel:4317", "protocol": "grpc"}),
    nested("kubernetes.images", {"pullSecrets": ["registry"], "digests": dict.fromkeys(SERVICES, DIGEST)}),
)

# Name → overlays of the chart, and values on top.
COMBINATIONS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "plain": ((), {}),
    "local": (("values-local.yaml",), {}),
    "cloud": (("values-cloud.yaml",), {}),
    "cloud with everything": (("values-cloud.yaml",), _EVERYTHING),
    "local with everything": (("values-local.yaml",), _EVERYTHING),
    "cloud with Strimzi": (
        ("values-cloud.yaml",),
        nested(
            "kubernetes.kafka", {"brokers": "", "strimzi": {"enabled": True}, "network": {"cidrs": [], "ports": []}}
        ),
    ),
    "an older Strimzi": ((), nested("kubernetes.kafka.strimzi.apiVersion", "kafka.strimzi.io/v1beta2")),
    "versions of Kafka": ((), nested("kubernetes.kafka.strimzi", {"version": "4.1.1", "metadataVersion": "4.1-IV1"})),
    "a storage class": ((), nested("kubernetes.kafka.strimzi.storage.storageClass", "gp3")),
    "sealed secrets": (
        ("values-cloud.yaml",),
        nested("kubernetes.secrets", sealed("database", "daprToken", "appToken", "serviceToken", "smtp", "kafka")),
    ),
    "one replica": ((), nested("kubernetes.workloads.default.replicas", 1)),
    "no autoscaling": ((), nested("kubernetes.workloads.default.autoscaling.maxReplicas", 0)),
    "no policies": ((), nested("kubernetes.networkPolicies.enabled", False)),
    "no certificate": (("values-cloud.yaml",), nested("kubernetes.ingress.tls.enabled", False)),
    "another ingress": (("values-cloud.yaml",), nested("kubernetes.ingress.className", "traefik")),
    "zipkin": ((), nested("kubernetes.traceCollector.address", "http://zipkin:9411/api/v2/spans")),
    "a sidecar image": ((), nested("kubernetes.sidecars.image", f"registry.example.org/daprd@{DIGEST}")),
    "an open broker": ((), nested("kubernetes.kafka.security", "PLAINTEXT")),
    "a plain mechanism": ((), nested("kubernetes.kafka.mechanism", "PLAIN")),
    "lasting mails": (("values-local.yaml",), nested("kubernetes.mail.development.storage.type", "persistent-claim")),
    "a passing database": (
        ("values-local.yaml",),
        nested("kubernetes.postgresql.development.storage.type", "ephemeral"),
    ),
    "more settings": ((), nested("kubernetes.workloads.api.env", {"LOG_LEVEL": "debug", "RATE_LIMIT_PER_SECOND": "5"})),
    "a few may come in": (
        ("values-cloud.yaml",),
        nested("kubernetes.workloads.sync.service.sourceRanges", ["203.0.113.0/24"]),
    ),
    "green": ((), nested("kubernetes.colours.active", "green")),
    "fewer services": ((), merged(nested("services.sync", None), nested("services.notification", None))),
    "a service more": (
        (),
        nested("services.reports", {"port": 8010, "subscribes": [{"topic": "task-events", "route": "/events/tasks"}]}),
    ),
}
