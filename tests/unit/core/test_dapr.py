"""Dapr resources: who may publish and read what, how records are delivered, and that no secret is in a document."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.sites import chart_values, document, site
from todoctl.core import dapr
from todoctl.core.parts import STATE_SECRET
from todoctl.core.values import Values

VALUES = chart_values()


def resources(app: str, values: Values = VALUES) -> dict[str, dict[str, Any]]:
    """The resources of one sidecar."""
    return dapr.resources(
        values, app, brokers="127.0.0.1:9092", secrets_file="/etc/secrets.json", state_connection=STATE_SECRET
    )


def metadata(component: dict[str, Any]) -> dict[str, str]:
    """A component's metadata by name, without references to secrets."""
    return {item["name"]: item["value"] for item in component["spec"]["metadata"] if "value" in item}


def scopes(component: dict[str, Any], key: str) -> dict[str, set[str]]:
    """Who may use which topics, as the pub/sub component says it."""
    pairs = (entry.partition("=") for entry in metadata(component)[key].split(";"))
    return {app: {topic for topic in topics.split(",") if topic} for app, _, topics in pairs}


@pytest.mark.parametrize("app", VALUES.services)
def test_a_sidecar_gets_the_components_that_its_service_uses(app: str) -> None:
    """A component that is not used can't fail to open and end the sidecar."""
    service = VALUES.services[app]
    found = {document["spec"].get("type", "subscription") for document in resources(app).values()}
    wanted = {"secretstores.local.file"}
    wanted |= {"pubsub.kafka"} if service.publishes or service.subscribes else set()
    wanted |= {"state.postgresql"} if service.state else set()
    wanted |= {"subscription"} if service.subscribes else set()
    assert found == wanted


def test_scopes_are_those_of_the_chart() -> None:
    """Each service may publish and read what its entry says, and nothing else; everybody is named, also with nothing."""
    component = dapr.pubsub(VALUES, {})
    users = {name: service for name, service in VALUES.services.items() if service.publishes or service.subscribes}
    assert component["scopes"] == list(users)
    assert scopes(component, "publishingScopes") == {name: set(service.publishes) for name, service in users.items()}
    assert scopes(component, "subscriptionScopes") == {
        name: {item.topic for item in service.subscribes if not item.every_replica} for name, service in users.items()
    }
    assert metadata(component)["allowedTopics"].split(",") == list(VALUES.topics)


def test_a_service_without_topics_is_outside_the_component() -> None:
    """Who neither publishes nor subscribes does not get the component at all."""
    values = Values.model_validate(document(api={"port": 8000, "publishes": ["letters"]}, auth={"port": 8001}))
    component = dapr.pubsub(values, {})
    assert component["scopes"] == ["api"]
    assert "auth" not in metadata(component)["publishingScopes"]
    assert "pubsub.yaml" not in resources("auth", values)


def test_each_replica_of_sync_reads_everything() -> None:
    """A component of its own: a group for each replica, from its start on, that topic alone, nothing to publish."""
    component = resources("sync")["pubsub-every-replica.yaml"]
    said = metadata(component)
    assert component["metadata"]["name"] == "pubsub-sync"
    assert component["scopes"] == ["sync"]
    assert (said["consumerGroup"], said["initialOffset"]) == ("sync-{podName}", "newest")
    assert (said["allowedTopics"], said["subscriptionScopes"]) == ("task-updates", "sync=task-updates")
    assert said["publishingScopes"] == "sync="
    (subscription,) = dapr.subscriptions(VALUES, "sync")
    assert subscription["spec"]["pubsubname"] == "pubsub-sync"
    assert "pubsub-every-replica.yaml" not in resources("audit")


def test_a_group_is_the_apps_or_the_replicas() -> None:
    """The name by which a subscription's group is looked up on one machine."""
    (shared,) = VALUES.services["recurring"].subscribes
    (alone,) = VALUES.services["sync"].subscribes
    assert dapr.local_group("recurring", shared) == "recurring"
    assert dapr.local_group("sync", alone) == "sync-sync-0"
    assert dapr.replica_environ(VALUES, "sync") == {"POD_NAME": "sync-0"}
    assert dapr.replica_environ(VALUES, "recurring") == {}


@pytest.mark.parametrize("app", VALUES.services)
def test_subscriptions_are_raw_and_without_dead_letter_topic(app: str) -> None:
    """Records arrive as they are, and our code alone decides what becomes a dead letter."""
    found = dapr.subscriptions(VALUES, app)
    assert [item["spec"]["topic"] for item in found] == [item.topic for item in VALUES.services[app].subscribes]
    for item in found:
        assert item["apiVersion"] == "dapr.io/v2alpha1"
        assert item["spec"]["metadata"] == {"rawPayload": "true"}
        assert "deadLetterTopic" not in json.dumps(item)
        assert item["scopes"] == [app]
        assert set(item["spec"]["routes"]) == {"default"}


def test_bulk_is_said_only_where_the_chart_says_it() -> None:
    """Audit reads in bulk with the chart's limits, recurring record by record."""
    (recurring,) = dapr.subscriptions(VALUES, "recurring")
    assert "bulkSubscribe" not in recurring["spec"]
    for item in dapr.subscriptions(VALUES, "audit"):
        assert item["spec"]["bulkSubscribe"] == {
            "enabled": True,
            "maxMessagesCount": 200,
            "maxAwaitDurationMs": 100,
        }


def test_delivery_is_retried_for_ever_and_loses_nothing() -> None:
    """The component starts at the oldest record, retries without end, and keeps foreign headers out."""
    said = metadata(dapr.pubsub(VALUES, {"brokers": "127.0.0.1:9092"}))
    assert said["initialOffset"] == "oldest"
    assert said["consumeRetryEnabled"] == "true"
    assert said["backOffMaxRetries"] == "-1"
    assert (said["escapeHeaders"], said["excludeHeaderMetaRegex"]) == ("true", ".*")
    assert said["maxMessageBytes"] == str(VALUES.largest_message_bytes)


def test_every_metadata_value_is_text() -> None:
    """Dapr refuses a number or a truth value where it wants text."""
    for app in VALUES.services:
        for component in resources(app).values():
            for item in component["spec"]["metadata"] if component["kind"] == "Component" else ():
                assert isinstance(item.get("value", ""), str), item


def test_the_state_stores_connection_is_a_reference() -> None:
    """The connection string comes from the secret store, by name, for the services that keep state."""
    store = dapr.statestore(VALUES, STATE_SECRET)
    (reference,) = [item for item in store["spec"]["metadata"] if item["name"] == "connectionString"]
    assert reference == {"name": "connectionString", "secretKeyRef": {"name": STATE_SECRET, "key": STATE_SECRET}}
    assert store["auth"] == {"secretStore": VALUES.dapr.secretstore.name}
    assert store["scopes"] == [name for name, service in VALUES.services.items() if service.state]


@pytest.mark.parametrize("app", VALUES.services)
def test_no_secret_is_in_a_document(app: str, tmp_path: Path) -> None:
    """Neither resources nor configuration hold a password or a token of the site."""
    here = site(VALUES, tmp_path)
    documents = [
        *resources(app).values(),
        dapr.configuration(VALUES, app, names_database=str(here.folders.data / "names.sqlite")),
    ]
    text = json.dumps(documents)
    secrets = [*here.secrets.passwords.values(), here.secrets.app_token, here.secrets.dapr_token]
    assert not [secret for secret in secrets if secret in text]


@pytest.mark.parametrize("app", VALUES.services)
def test_the_configuration_keeps_secrets_from_the_app_and_ids_out_of_metrics(app: str) -> None:
    """The app may read only the secrets that its entry names, metrics have no label per path, nothing is traced by default."""
    spec = dapr.configuration(VALUES, app, names_database="/data/names.sqlite")["spec"]
    (scope,) = spec["secrets"]["scopes"]
    assert scope == {
        "storeName": VALUES.dapr.secretstore.name,
        "defaultAccess": "deny",
        "allowedSecrets": list(VALUES.services[app].secrets),
    }
    assert STATE_SECRET not in scope["allowedSecrets"]
    assert spec["metrics"]["http"] == {"increasedCardinality": False}
    assert spec["tracing"] == {"samplingRate": "0"}
    assert spec["nameResolution"]["component"] == "sqlite"
