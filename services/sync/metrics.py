"""What sync counts."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class SyncMetrics:
    """Connections, messages, the time from commit to message, and why connections were refused, read anew or closed."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.connections = Gauge("sync_connections", "Connections that may receive.", registry=registry)
        self.emitted = Counter("sync_emitted_total", "Messages task.sync sent.", ("source",), registry=registry)
        self.lag = Histogram(
            "sync_lag_seconds", "From a change's commit to its live message.", buckets=_SECONDS, registry=registry
        )
        self.catch_ups = Counter(
            "sync_catch_ups_total", "Connections that read from api.", ("cause",), registry=registry
        )
        self.refused = Counter("sync_refused_total", "Connections refused.", ("reason",), registry=registry)
        self.closed = Counter("sync_closed_total", "Connections closed by the server.", ("reason",), registry=registry)
