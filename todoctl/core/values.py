"""The chart's values as a model: which services, topics and Dapr components there are."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, StringConstraints, model_validator

from todoctl.core.cluster_values import Cluster
from todoctl.core.sections import Name, Path, Port, Role, Section


class BulkSubscribe(Section):
    """Deliver up to `max_messages` records in one call, waiting at most `max_await_ms` milliseconds for them."""

    max_messages: Annotated[int, Field(ge=1, le=10_000)]
    max_await_ms: Annotated[int, Field(ge=1, le=60_000)]


class Subscription(Section):
    """A topic that a service consumes and the route its sidecar posts the records to.

    With `every_replica` each replica gets all records, those from its start on; otherwise the replicas share them.
    """

    topic: Name
    route: Path
    every_replica: bool = False
    bulk: BulkSubscribe | None = None


class Invocation(Section):
    """Paths of another service that this one may call through its sidecar."""

    service: Name
    paths: tuple[Path, ...]
    verbs: tuple[str, ...] = ("GET",)


class Database(Section):
    """The PostgreSQL role that a service connects as."""

    role: Role


class Service(Section):
    """One service: its port, what it may use, what it consumes and produces.

    `public` are the paths that browsers may reach; `sockets_for` is the service whose pages may open sockets to this one.
    """

    port: Port
    database: Database | None = None
    state: bool = False
    jobs: bool = False
    secrets: tuple[Name, ...] = ()
    publishes: tuple[Name, ...] = ()
    subscribes: tuple[Subscription, ...] = ()
    invokes: tuple[Invocation, ...] = ()
    public: tuple[Path, ...] = ()
    sockets_for: Name | None = None


class Topic(Section):
    """A Kafka topic; retention in hours, and its own largest record where it is not the common one.

    A compacted one has no retention: it keeps the newest record of each key.
    """

    partitions: Annotated[int, Field(ge=1, le=1000)]
    retention_hours: Annotated[int | None, Field(ge=1)] = None
    compacted: bool = False
    max_message_bytes: Annotated[int | None, Field(ge=1024)] = None

    @model_validator(mode="after")
    def _keeps_one_way(self) -> Self:
        if self.compacted == (self.retention_hours is not None):
            raise ValueError("a topic has either retentionHours or compacted: true")
        return self

    @property
    def cleanup(self) -> dict[str, str]:
        """What makes old records go, in Kafka's own names."""
        if self.retention_hours is None:
            return {"cleanup.policy": "compact"}
        return {"cleanup.policy": "delete", "retention.ms": str(self.retention_hours * 3_600_000)}


class Kafka(Section):
    """What every topic of ours has in common; sizes in bytes."""

    replication: Annotated[int, Field(ge=1, le=9)] = 3
    min_in_sync_replicas: Annotated[int, Field(ge=1, le=9)] = 2
    max_message_bytes: Annotated[int, Field(ge=1024)] = 1_048_576


class Component(Section):
    """A Dapr component: its name and the metadata that no environment changes."""

    name: Name
    metadata: dict[str, str] = Field(default_factory=dict)


class StateStore(Component):
    """The Dapr state store: the role that owns its tables and their prefix."""

    role: Role
    table_prefix: Role


class Tracing(Section):
    """Dapr tracing: the share of calls that are sampled, 0 to 1."""

    sampling_rate: str = "0"


class Dapr(Section):
    """The Dapr components and settings that all environments share."""

    log_level: Annotated[str, StringConstraints(pattern="^(debug|info|warn|error)$")] = "info"
    pubsub: Component
    statestore: StateStore
    secretstore: Component
    tracing: Tracing = Tracing()


class Values(Section):
    """The whole values file; every name that one entry refers to is defined by another."""

    services: dict[Name, Service]
    topics: dict[Name, Topic]
    kafka: Kafka = Kafka()
    dapr: Dapr
    kubernetes: Cluster | None = None

    def max_message_bytes(self, topic: str) -> int:
        """The largest record that the topic takes."""
        return self.topics[topic].max_message_bytes or self.kafka.max_message_bytes

    @property
    def largest_message_bytes(self) -> int:
        """The largest record that any topic takes, which producers and brokers must let pass."""
        return max(self.max_message_bytes(topic) for topic in self.topics)

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        for name, service in self.services.items():
            topics = {*service.publishes, *(subscription.topic for subscription in service.subscribes)}
            if unknown := topics - set(self.topics):
                raise ValueError(f"services.{name}: no such topic: {', '.join(sorted(unknown))}")
            targets = {invocation.service for invocation in service.invokes}
            targets |= {service.sockets_for} if service.sockets_for else set()
            if unknown := targets - set(self.services):
                raise ValueError(f"services.{name}: no such service: {', '.join(sorted(unknown))}")
        ports = [service.port for service in self.services.values()]
        if len(set(ports)) != len(ports):
            raise ValueError("services: two services have the same port")
        if self.kubernetes and (unknown := set(self.kubernetes.workloads) - {*self.services, "default"}):
            raise ValueError(f"kubernetes.workloads: no such service: {', '.join(sorted(unknown))}")
        return self


def values_schema() -> dict[str, Any]:
    """The JSON Schema by which Helm checks the values: unknown keys and names of a wrong form are refused there, too."""
    schema = Values.model_json_schema(by_alias=True)
    _close(schema)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema


def _close(schema: Any) -> None:
    """Refuse names that no pattern fits; pydantic itself does, its schema leaves it open."""
    if isinstance(schema, list):
        for item in schema:
            _close(item)
    elif isinstance(schema, dict):
        if "patternProperties" in schema:
            schema["additionalProperties"] = False
        for item in schema.values():
            _close(item)
