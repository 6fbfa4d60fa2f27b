"""What api counts: task operations by outcome, and the state of the outbox."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge

from services.common.failures import ServiceFailure
from services.common.problems import Problem


class ApiMetrics:
    """The service's own numbers in one registry."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.operations = Counter(
            "task_operations_total", "Commands on tasks.", ("operation", "outcome"), registry=registry
        )
        self.published = Counter("outbox_published_total", "Events the broker took.", ("topic",), registry=registry)
        self.refused = Counter(
            "outbox_refused_total", "Events that became dead letters.", ("topic",), registry=registry
        )
        self.failed = Counter(
            "outbox_failed_total", "Publishing that must be tried again.", ("topic",), registry=registry
        )
        self.entries = Gauge("outbox_entries", "Events still to be published.", registry=registry)
        self.oldest_age = Gauge("outbox_oldest_age_seconds", "Age of the oldest such event.", registry=registry)
        self.reminders = Counter("reminders_due_total", "Reminders put into the outbox.", registry=registry)
        self.alarms = Counter("reminder_alarms_total", "Jobs for reminders.", ("outcome",), registry=registry)
        self.relay_leads = Gauge("outbox_relay_leads", "Whether this process publishes.", registry=registry)

    @contextmanager
    def failures_of(self, operation: str) -> Iterator[None]:
        """Count an operation that ends in an error; one that succeeds is counted with its outcome."""
        try:
            yield
        except Problem:
            self.operations.labels(operation, "refused").inc()
            raise
        except ServiceFailure:
            self.operations.labels(operation, "unavailable").inc()
            raise
