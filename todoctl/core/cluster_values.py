"""The part of the chart's values that only a cluster reads: images, pods, secrets, what lies outside, who may reach what."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from todoctl.core.colours import Colours
from todoctl.core.sections import Name, Section

Count = Annotated[int, Field(ge=0, le=100)]
Seconds = Annotated[int, Field(ge=0, le=3600)]
# A quantity of Kubernetes, such as 250m, 1 or 256Mi.
Quantity = Annotated[str, StringConstraints(pattern=r"^[0-9]+(\.[0-9]+)?(m|k|Ki|M|Mi|G|Gi)?$")]
Digest = Annotated[str, StringConstraints(pattern="^sha256:[0-9a-f]{64}$")]
Object = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$")]
Cidr = Annotated[str, StringConstraints(pattern=r"^[0-9a-f.:]+/[0-9]{1,3}$")]
# An origin as a browser sends it: no path, no slash at the end.
Origin = Annotated[str, StringConstraints(pattern=r"^https?://[a-z0-9.-]+(:[0-9]{1,5})?$")]
Text = dict[str, str]


class Images(Section):
    """Where a service's image is: `registry/prefix` + service, then its digest, or the tag where it has none.

    An empty tag is the chart's appVersion.
    """

    registry: str
    prefix: str
    tag: str
    digests: dict[Name, Digest]
    pull_policy: Literal["Always", "IfNotPresent", "Never"]
    pull_secrets: tuple[Object, ...]


class Amounts(Section):
    """Processor and memory."""

    cpu: Quantity
    memory: Quantity


class Resources(Section):
    """What a container is sure to have, and what it may use at most."""

    requests: Amounts
    limits: Amounts


class Autoscaling(Section):
    """Replicas by load: up to `max_replicas` while the processor is busier than `cpu_percent` of its request."""

    max_replicas: Count | None = None
    cpu_percent: Annotated[int, Field(ge=1, le=1000)] | None = None
    scale_down_seconds: Seconds | None = None


class Exposure(Section):
    """The Service of an app: its type, and for those that are open to the outside the port and who may come in."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] | None = None
    port: Annotated[int, Field(ge=0, le=65535)] | None = None
    annotations: Text | None = None
    source_ranges: tuple[Cidr, ...] | None = None


class Workload(Section):
    """How the pods of a service run; a service of its own says only what differs from `default`.

    `replicas` are the fewest where there is autoscaling. A pod that is told to stop answers "not ready" and goes on
    serving for `drain_seconds`, then finishes what runs for `graceful_seconds`.
    """

    replicas: Annotated[int, Field(ge=0, le=100)] | None = None
    autoscaling: Autoscaling | None = None
    resources: Resources | None = None
    sidecar: Resources | None = None
    drain_seconds: Seconds | None = None
    graceful_seconds: Seconds | None = None
    service: Exposure | None = None
    env: Text | None = None


class Secret(Section):
    """One Secret and where it comes from.

    `existing`: it is there, made by somebody else. `sealed`: from `sealed`, key → what kubeseal gave. `values`: from
    `values` in clear text, for development.
    """

    name: Object
    source: Literal["existing", "sealed", "values"]
    sealed: Text
    values: Text

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = {name for name in ("sealed", "values") if getattr(self, name)}
        if given != {self.source} - {"existing"}:
            raise ValueError(f"secret {self.name}: source is {self.source}, so give just that (given: {sorted(given)})")
        return self


class Secrets(Section):
    """Every Secret of the platform; the keys of each are in values.yaml."""

    database: Secret
    dapr_token: Secret
    app_token: Secret
    service_token: Secret
    smtp: Secret
    kafka: Secret
    postgresql: Secret


class Peers(Section):
    """Addresses and ports outside the cluster's own pods."""

    cidrs: tuple[Cidr, ...]
    ports: tuple[Annotated[int, Field(ge=1, le=65535)], ...]


class Storage(Section):
    """A disk; `ephemeral` is gone with its pod. An empty class is the cluster's default."""

    type: Literal["ephemeral", "persistent-claim"]
    size: Quantity
    storage_class: str


class Strimzi(Section):
    """A Kafka cluster of our own, run by Strimzi's operator in a namespace of its own. Empty versions are Strimzi's."""

    enabled: bool
    namespace: Object
    cluster: Name
    api_version: Literal["kafka.strimzi.io/v1", "kafka.strimzi.io/v1beta2"]
    version: str
    metadata_version: str
    nodes: Annotated[int, Field(ge=1, le=9)]
    user: Name
    operator_user: Name
    tls: bool
    storage: Storage
    heap: Quantity
    resources: Resources
    operator_resources: Resources


class Broker(Section):
    """How the sidecars reach Kafka; an empty `brokers` is Strimzi's."""

    brokers: str
    security: Literal["SASL_SSL", "SASL_PLAINTEXT", "PLAINTEXT"]
    mechanism: Literal["SHA-256", "SHA-512", "PLAIN"]
    own_authority: bool
    network: Peers
    strimzi: Strimzi

    @model_validator(mode="after")
    def _there_is_one(self) -> Self:
        if bool(self.brokers) == self.strimzi.enabled:
            raise ValueError("kafka: give brokers, or enable strimzi, and not both")
        return self


class DevelopmentServer(Section):
    """A server in the cluster for development: one pod."""

    enabled: bool
    image: str
    storage: Storage
    resources: Resources


class Postgresql(Section):
    """The database outside, or one in the cluster for development."""

    network: Peers
    development: DevelopmentServer


class Mail(Section):
    """The mail server outside, or a sink in the cluster that keeps every mail."""

    network: Peers
    development: DevelopmentServer


class Migration(Section):
    """The Job that brings the database to `revision`."""

    revision: Annotated[str, StringConstraints(pattern="^[0-9]{4}$")]
    resources: Resources
    seconds: Annotated[int, Field(ge=1, le=86_400)]
    attempts: Count


class Tls(Section):
    """The certificate of the Ingress; with an issuer cert-manager makes it."""

    enabled: bool
    secret: Object
    cluster_issuer: str


class Ingress(Section):
    """The way in for browsers; `namespace` is where its controller's pods are."""

    enabled: bool
    class_name: str
    host: str
    namespace: Object
    annotations: Text
    tls: Tls


class Urls(Section):
    """Where browsers find the page and the sockets; they stand in mails, headers and the page's own settings."""

    page: Origin
    sockets: Origin


class NetworkPolicies(Section):
    """Nothing may reach anything but what is listed; the namespaces and addresses of those that others run."""

    enabled: bool
    dns_namespace: Object
    dns_labels: Text
    api_server: Peers


class Monitoring(Section):
    """What Prometheus' operator reads; `labels` are those that it selects by."""

    enabled: bool
    namespace: Object
    labels: Text
    interval: Annotated[str, StringConstraints(pattern="^[0-9]+(s|m)$")]


class TraceCollector(Section):
    """Where sidecars send spans; nowhere while the address is empty."""

    address: str
    protocol: Literal["zipkin", "grpc", "http"]
    secure: bool
    network: Peers


class Resiliency(Section):
    """Of calls between services and to components; deliveries have none, because our code decides on failures."""

    timeout_seconds: Seconds


class SidecarSettings(Section):
    """What all sidecars share; an empty image is the control plane's choice."""

    image: str
    shutdown_seconds: Seconds
    control_plane_namespace: Object
    control_plane_trust_domain: str
    workload_cert_ttl: str
    trust_domain: Name


class Cluster(Section):
    """Everything that the chart's templates need and a platform of processes doesn't."""

    images: Images
    # Releases from before there were colours have none.
    colours: Colours = Colours()
    workloads: dict[Name, Workload]
    sidecars: SidecarSettings
    resiliency: Resiliency
    trace_collector: TraceCollector
    urls: Urls
    ingress: Ingress
    secrets: Secrets
    kafka: Broker
    postgresql: Postgresql
    mail: Mail
    migration: Migration
    network_policies: NetworkPolicies
    monitoring: Monitoring

    @model_validator(mode="after")
    def _default_is_whole(self) -> Self:
        if "default" not in self.workloads or not _is_whole(self.workloads["default"]):
            raise ValueError("workloads.default: every key needs a value")
        return self


def _is_whole(section: Section) -> bool:
    values = section.__dict__.values()
    return all(value is not None and (not isinstance(value, Section) or _is_whole(value)) for value in values)
