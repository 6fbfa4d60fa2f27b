"""The chart's Dapr resources say what the local environment's do, and what only a cluster can say."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helm import Chart, Object, nested
from todoctl.adapters.chart import read_values
from todoctl.core import dapr
from todoctl.core.values import Values


@pytest.fixture(scope="module")
def values(chart: Chart) -> Values:
    """The values as todoctl reads them."""
    return read_values(chart.folder)


@pytest.fixture(scope="module")
def objects(chart: Chart) -> list[Object]:
    """The chart with its own values."""
    return chart.render()


def metadata(component: Object) -> dict[str, Any]:
    """Name → value or reference of each metadata entry."""
    return {item["name"]: item.get("value", item.get("secretKeyRef")) for item in component["spec"]["metadata"]}


def named(objects: list[Object], kind: str, name: str) -> Object:
    """The one object of a kind and a name."""
    (found,) = [item for item in objects if item["kind"] == kind and item["metadata"]["name"] == name]
    return found


def topics_of(scopes: str) -> dict[str, set[str]]:
    """App → topics of a publishingScopes or subscriptionScopes value."""
    pairs = (entry.split("=") for entry in scopes.split(";"))
    return {app: set(filter(None, topics.split(","))) for app, topics in pairs}


def same_component(found: Object, wanted: Object, connection: set[str]) -> None:
    """Type, version, scopes and everything but the connection agree."""
    assert (found["spec"]["type"], found["spec"]["version"]) == (wanted["spec"]["type"], wanted["spec"]["version"])
    assert sorted(found.get("scopes", [])) == sorted(wanted.get("scopes", []))
    said, want = ({k: v for k, v in metadata(item).items() if k not in connection} for item in (found, wanted))
    for key in ("publishingScopes", "subscriptionScopes"):
        assert topics_of(said.pop(key, "=")) == topics_of(want.pop(key, "="))
    assert sorted(said.pop("allowedTopics", "").split(",")) == sorted(want.pop("allowedTopics", "").split(","))
    assert said == want


CONNECTION = {"brokers", "authType", "saslMechanism", "saslUsername", "saslPassword", "caCert", "disableTls"}


def test_the_broker_component_is_the_local_one(objects: list[Object], values: Values) -> None:
    """Scopes, offsets, retries and headers are those that `local` runs with; only the connection differs."""
    same_component(named(objects, "Component", "pubsub"), dapr.pubsub(values, {}), CONNECTION)


def test_the_component_of_every_replica_is_the_local_one(objects: list[Object], values: Values) -> None:
    """Sync's second component, with its group for each pod."""
    same_component(named(objects, "Component", "pubsub-sync"), dapr.replica_pubsub(values, "sync", {}), CONNECTION)


def test_the_state_component_is_the_local_one(objects: list[Object], values: Values) -> None:
    """Its connection is a reference to the role's key."""
    found = named(objects, "Component", "statestore")
    same_component(found, dapr.statestore(values, "any"), {"connectionString"})
    assert metadata(found)["connectionString"] == {"name": "todo-database", "key": "dapr_state"}


def test_a_production_pool_is_larger(chart: Chart) -> None:
    """The cloud's overlay gives the state store more connections."""
    assert metadata(named(chart.render("values-cloud.yaml"), "Component", "statestore"))["maxConns"] == "16"


def test_secrets_are_kubernetes_own(objects: list[Object]) -> None:
    """The store that services ask, for those alone that read a secret."""
    store = named(objects, "Component", "secretstore")
    assert (store["spec"]["type"], store["scopes"]) == ("secretstores.kubernetes", ["notification"])
    assert metadata(store) == {"defaultNamespace": "todo-app-test"}


@pytest.mark.parametrize(
    ("kafka", "wanted"),
    [
        (
            {"security": "SASL_SSL", "mechanism": "SHA-256", "ownAuthority": False},
            {"authType": "password", "saslMechanism": "SHA-256"},
        ),
        (
            {"security": "SASL_SSL", "ownAuthority": True},
            {
                "authType": "password",
                "saslMechanism": "SHA-512",
                "caCert": {"name": "todo-kafka", "key": "ca.crt"},
            },
        ),
        (
            {"security": "SASL_PLAINTEXT", "mechanism": "PLAIN"},
            {"authType": "password", "saslMechanism": "PLAINTEXT", "disableTls": "true"},
        ),
        ({"security": "PLAINTEXT"}, {"authType": "none"}),
    ],
)
def test_the_connection_is_as_the_broker_wants_it(chart: Chart, kafka: dict[str, Any], wanted: dict[str, Any]) -> None:
    """In Dapr's words; user and password are references, never values."""
    objects = chart.render(
        values=nested("kubernetes.kafka", {**kafka, "brokers": "a:1,b:2", "strimzi": {"enabled": False}})
    )
    for name in ("pubsub", "pubsub-sync"):
        said = {key: value for key, value in metadata(named(objects, "Component", name)).items() if key in CONNECTION}
        if wanted["authType"] == "password":
            assert said.pop("saslUsername") == {"name": "todo-kafka", "key": "username"}
            assert said.pop("saslPassword") == {"name": "todo-kafka", "key": "password"}
        assert said == {"brokers": "a:1,b:2", **wanted}


def test_brokers_are_strimzis_where_there_is_none_outside(chart: Chart, objects: list[Object]) -> None:
    """Its bootstrap Service, by the port that has TLS or the one that has not."""
    assert metadata(named(objects, "Component", "pubsub"))["brokers"] == "todo-kafka-bootstrap.kafka.svc:9093"
    local = chart.render("values-local.yaml")
    assert metadata(named(local, "Component", "pubsub"))["brokers"] == "todo-kafka-bootstrap.kafka.svc:9092"


def test_subscriptions_are_the_local_ones(objects: list[Object], values: Values) -> None:
    """Raw payloads, bulk where the values say it, no dead-letter topic."""
    wanted = {item["metadata"]["name"]: item for app in values.services for item in dapr.subscriptions(values, app)}
    found = {item["metadata"]["name"]: item for item in objects if item["kind"] == "Subscription"}
    assert set(found) == set(wanted)
    for name, item in found.items():
        assert (item["apiVersion"], item["spec"], item["scopes"]) == (
            wanted[name]["apiVersion"],
            wanted[name]["spec"],
            wanted[name]["scopes"],
        )


def test_every_app_has_its_configuration(objects: list[Object], values: Values) -> None:
    """mTLS, low-cardinality metrics, tracing as said, and of the secrets only its own."""
    for name, service in values.services.items():
        spec = named(objects, "Configuration", name)["spec"]
        assert spec["mtls"]["enabled"] is True
        assert spec["metrics"] == {"enabled": True, "http": {"increasedCardinality": False}}
        assert spec["tracing"] == {"samplingRate": "0"}
        (scope,) = spec["secrets"]["scopes"]
        assert (scope["defaultAccess"], scope["allowedSecrets"]) == ("deny", list(service.secrets))


def test_who_may_call_is_what_invokes_says(objects: list[Object], values: Values) -> None:
    """Denied by default, and each allowed path and verb is one of the values."""
    wanted = {
        (invocation.service, caller, path, verb)
        for caller, service in values.services.items()
        for invocation in service.invokes
        for path in invocation.paths
        for verb in invocation.verbs
    }
    found = set()
    for name in values.services:
        control = named(objects, "Configuration", name)["spec"]["accessControl"]
        assert control["defaultAction"] == "deny"
        for policy in control["policies"]:
            assert (policy["defaultAction"], policy["namespace"]) == ("deny", "todo-app-test")
            for operation in policy["operations"]:
                assert operation["action"] == "allow"
                found |= {(name, policy["appId"], operation["name"], verb) for verb in operation["httpVerb"]}
    assert found == wanted


def test_deliveries_have_no_policy(objects: list[Object]) -> None:
    """Timeouts are for calls; no inbound policy, or Dapr would decide on failures in our place."""
    (resiliency,) = [item for item in objects if item["kind"] == "Resiliency"]
    assert all("inbound" not in item for item in resiliency["spec"]["targets"]["components"].values())
    assert "pubsub" not in resiliency["spec"]["targets"]["components"]
    # A breaker would count answers of 4xx, so that wrong passwords of one user closed the log-in for all.
    assert set(resiliency["spec"]["policies"]) == {"timeouts"}


@pytest.mark.parametrize(
    ("protocol", "wanted"),
    [
        ("zipkin", {"zipkin": {"endpointAddress": "collector:1"}}),
        ("grpc", {"otel": {"endpointAddress": "collector:1", "isSecure": False, "protocol": "grpc"}}),
    ],
)
def test_spans_go_where_the_values_say(chart: Chart, protocol: str, wanted: dict[str, Any]) -> None:
    """Zipkin's or OpenTelemetry's collector."""
    objects = chart.render(
        values={
            "dapr": {"tracing": {"samplingRate": "0.1"}},
            **nested("kubernetes.traceCollector", {"address": "collector:1", "protocol": protocol}),
        }
    )
    tracing = named(objects, "Configuration", "api")["spec"]["tracing"]
    assert tracing == {"samplingRate": "0.1", **wanted}
