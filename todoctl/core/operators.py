"""The operators that a cluster needs besides our chart: what each is called there, how it is set up, how it is proven."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Document = dict[str, Any]

SIDECAR = "daprd"  # the container that Dapr injects
INJECTED = "dapr.io/sidecar-injected=true"  # the label of pods that have one


@dataclass(frozen=True)
class Probe:
    """Proof that a webhook answers: an object that the server would accept, and a container that is in it by then."""

    webhook: str
    document: Document
    container: str = ""


@dataclass(frozen=True)
class Operator:
    """An operator: its release, the groups of its definitions, the values that we set, what proves that it works."""

    name: str
    release: str
    namespace: str
    groups: tuple[str, ...]
    purpose: str
    probes: tuple[Probe, ...] = ()
    injects: bool = False  # whether pods of others carry a part of it
    keeps: tuple[str, ...] = ()  # what an uninstall leaves, in words


@dataclass(frozen=True)
class Source:
    """Where a chart comes from: a folder, an archive or folder with charts, or the project's repository."""

    kind: Literal["chart", "bundle", "repository"]
    place: str


@dataclass(frozen=True)
class Wanted:
    """What a release of an operator is to become, before it is compared with the cluster."""

    operator: Operator
    version: str
    values: Mapping[str, Any]
    definitions: tuple[Document, ...] = ()
    digest: str = ""  # of everything in the chart
    source: Source = field(default_factory=lambda: Source("repository", ""))

    @property
    def description(self) -> str:
        """What Helm keeps with the release; by it the same chart is known again."""
        return f"todoctl: chart {self.version} {self.digest}"


def _meta(name: str) -> Document:
    return {"name": f"todoctl-probe-{name}"}


# Never made: the server is only asked whether it would.
_INJECTED_POD: Document = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        **_meta("injector"),
        "annotations": {
            "dapr.io/enabled": "true",
            "dapr.io/app-id": "todoctl-probe",
            "dapr.io/sidecar-seccomp-profile-type": "RuntimeDefault",
        },
    },
    "spec": {
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [
            {
                "name": "app",
                "image": "todoctl.invalid/probe:1",
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                # A namespace with a quota takes only pods that name both.
                "resources": {
                    "requests": {"cpu": "1m", "memory": "1Mi"},
                    "limits": {"cpu": "1m", "memory": "1Mi"},
                },
            }
        ],
    },
}
# In the old version, so that the server has to have it converted.
_SUBSCRIPTION: Document = {
    "apiVersion": "dapr.io/v1alpha1",
    "kind": "Subscription",
    "metadata": _meta("conversion"),
    "spec": {"pubsubname": "none", "topic": "none", "route": "/none"},
}
_RULE: Document = {
    "apiVersion": "monitoring.coreos.com/v1",
    "kind": "PrometheusRule",
    "metadata": _meta("rules"),
    "spec": {"groups": [{"name": "probe", "rules": [{"record": "todoctl:probe", "expr": "vector(1)"}]}]},
}

OPERATORS: dict[str, Operator] = {
    operator.name: operator
    for operator in (
        Operator(
            "dapr",
            "dapr",
            "dapr-system",
            ("dapr.io",),
            "sidecars, identities, pub/sub, jobs",
            (Probe("sidecar injector", _INJECTED_POD, SIDECAR), Probe("conversion of subscriptions", _SUBSCRIPTION)),
            injects=True,
            keeps=("the scheduler's disks with its jobs",),
        ),
        Operator(
            "strimzi",
            "strimzi",
            "kafka",
            ("kafka.strimzi.io", "core.strimzi.io"),
            "Kafka clusters, topics and users",
        ),
        Operator(
            "sealed-secrets",
            "sealed-secrets",
            "kube-system",
            ("bitnami.com",),
            "opens sealed secrets",
            keeps=("the keys that secrets were sealed for",),
        ),
        Operator(
            "monitoring",
            "monitoring",
            "monitoring",
            ("monitoring.coreos.com",),
            "Prometheus, Alertmanager, Grafana",
            (Probe("check of rules", _RULE),),
            keeps=("the disks of Prometheus and Grafana",),
        ),
    )
}


def default_values(operator: Operator, *, is_available: bool) -> Document:
    """The values that we set; `is_available`: several replicas of what others wait for."""
    if operator.name == "dapr":
        return _dapr(operator, is_available=is_available)
    if operator.name == "sealed-secrets":
        # The name that kubeseal looks for.
        return {"fullnameOverride": "sealed-secrets-controller"}
    if operator.name == "monitoring":
        kinds = ("serviceMonitor", "podMonitor", "rule", "probe", "scrapeConfig")
        # Otherwise only objects with the release's own label would be seen.
        return {"prometheus": {"prometheusSpec": {f"{kind}SelectorNilUsesHelmValues": False for kind in kinds}}}
    return {}


def _dapr(operator: Operator, *, is_available: bool) -> Document:
    # On a busy node the control plane answers late; restarting it then makes it worse.
    patient = {"livenessProbe": {"failureThreshold": 20}}
    values: Document = {
        f"dapr_{part}": dict(patient) for part in ("operator", "placement", "sentry", "scheduler", "sidecar_injector")
    }
    values["dapr_sidecar_injector"] |= {
        # What Pod Security "restricted" asks of every container.
        "sidecarDropALLCapabilities": True,
        # Otherwise a pod that starts while the injector is away has no sidecar, and nobody is told.
        "webhookFailurePolicy": "Fail",
        # The pods that the injector itself needs must start without it.
        "namespaceSelector": {
            "matchExpressions": [
                {
                    "key": "kubernetes.io/metadata.name",
                    "operator": "NotIn",
                    "values": ["kube-system", operator.namespace],
                }
            ]
        },
    }
    values["global"] = {"seccompProfile": "RuntimeDefault"}
    if is_available:
        values["global"]["ha"] = {"enabled": True}
        # The size can't be changed afterwards, and Dapr itself warns of its default of 1 GiB.
        values["dapr_scheduler"]["cluster"] = {"storageSize": "16Gi"}
    return values


def merged(*documents: Mapping[str, Any]) -> Document:
    """Values joined key by key, later ones on top; lists are replaced whole."""
    found: Document = {}
    for document in documents:
        for key, value in document.items():
            both = isinstance(value, Mapping) and isinstance(found.get(key), Mapping)
            found[key] = merged(found[key], value) if both else value
    return found


def placed(definition: Document, namespace: str) -> Document:
    """A definition whose conversion webhook, if it has one, is in the operator's namespace.

    Dapr's chart leaves a placeholder there that its operator replaces; applied as it is, an upgrade would undo that.
    """
    service = definition["spec"].get("conversion", {}).get("webhook", {}).get("clientConfig", {}).get("service")
    if service is None:
        return definition
    client = {"service": {**service, "namespace": namespace}}
    return merged(definition, {"spec": {"conversion": {"webhook": {"clientConfig": client}}}})
