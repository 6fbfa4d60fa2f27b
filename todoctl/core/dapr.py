"""Dapr resources as plain documents, made from the chart's values: components, configuration, subscriptions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from todoctl.core.values import Subscription, Values

Document = dict[str, Any]


def resources(
    values: Values, app: str, *, brokers: str, secrets_file: str, state_connection: str
) -> dict[str, Document]:
    """File name → document: everything in the resources folder of `app`'s sidecar on one machine.

    `state_connection` is the name of the secret that holds the state store's connection string.
    """
    service = values.services[app]
    documents = {"secretstore.yaml": secretstore(values, secrets_file)}
    if service.publishes or service.subscribes:
        documents["pubsub.yaml"] = pubsub(values, {"brokers": brokers, "authType": "none"})
    if any(item.every_replica for item in service.subscribes):
        documents["pubsub-every-replica.yaml"] = replica_pubsub(values, app, {"brokers": brokers, "authType": "none"})
    if service.state:
        documents["statestore.yaml"] = statestore(values, state_connection)
    return documents | {
        f"subscription-{subscription['spec']['topic']}.yaml": subscription
        for subscription in subscriptions(values, app)
    }


def pubsub(values: Values, connection: Mapping[str, str]) -> Document:
    """The Kafka pub/sub component; which service may publish and read what is written into it.

    Source: https://docs.dapr.io/reference/components-reference/supported-pubsub/setup-apache-kafka/
    """
    users = {name: service for name, service in values.services.items() if service.publishes or service.subscribes}
    publishing = {name: service.publishes for name, service in users.items()}
    subscribing = {
        name: tuple(item.topic for item in service.subscribes if not item.every_replica)
        for name, service in users.items()
    }
    metadata = {
        **connection,
        **values.dapr.pubsub.metadata,
        "maxMessageBytes": str(values.largest_message_bytes),
        "allowedTopics": ",".join(values.topics),
        "publishingScopes": _scopes(publishing),
        "subscriptionScopes": _scopes(subscribing),
    }
    return _component(values.dapr.pubsub.name, "pubsub.kafka", "v1", metadata, scopes=list(users))


def replica_pubsub(values: Values, app: str, connection: Mapping[str, str]) -> Document:
    """The second pub/sub component of an app whose replicas each read everything: a group of its own for each.

    It starts at the newest record: a replica that starts has no client yet, and clients catch up from the database.
    """
    items = [item for item in values.services[app].subscribes if item.every_replica]
    topics = tuple(item.topic for item in items)
    metadata = {
        **connection,
        **values.dapr.pubsub.metadata,
        "consumerGroup": group_of(app, items[0], "{podName}"),
        "initialOffset": "newest",
        "maxMessageBytes": str(values.kafka.max_message_bytes),
        "allowedTopics": ",".join(topics),
        "publishingScopes": _scopes({app: ()}),
        "subscriptionScopes": _scopes({app: topics}),
    }
    return _component(_replica_name(values, app), "pubsub.kafka", "v1", metadata, scopes=[app])


def group_of(app: str, subscription: Subscription, replica: str) -> str:
    """The Kafka consumer group that reads for a subscription: one of all replicas, or one of this replica."""
    return f"{app}-{replica}" if subscription.every_replica else app


def local_group(app: str, subscription: Subscription) -> str:
    """The group of the one replica that a machine has."""
    return group_of(app, subscription, replica_name(app))


def replica_name(app: str) -> str:
    """The name of an app's one replica on a machine, as Kubernetes would name a pod."""
    return f"{app}-0"


def replica_environ(values: Values, app: str) -> dict[str, str]:
    """What an app, and its sidecar, must know when each replica reads for itself."""
    return (
        {"POD_NAME": replica_name(app)} if any(item.every_replica for item in values.services[app].subscribes) else {}
    )


def statestore(values: Values, connection_secret: str) -> Document:
    """The PostgreSQL state component; the connection string comes from the secret store."""
    store = values.dapr.statestore
    document = _component(
        store.name,
        "state.postgresql",
        "v2",
        {**store.metadata, "tablePrefix": store.table_prefix},
        scopes=[name for name, service in values.services.items() if service.state],
    )
    document["auth"] = {"secretStore": values.dapr.secretstore.name}
    reference = {"name": connection_secret, "key": connection_secret}
    document["spec"]["metadata"].append({"name": "connectionString", "secretKeyRef": reference})
    return document


def secretstore(values: Values, secrets_file: str) -> Document:
    """The secret store of one machine: a file that only its owner reads."""
    return _component(
        values.dapr.secretstore.name,
        "secretstores.local.file",
        "v1",
        {"secretsFile": secrets_file, "multiValued": "true"},
    )


def subscriptions(values: Values, app: str) -> list[Document]:
    """The subscriptions of `app`: raw payloads, no dead-letter topic, because our code decides on failures."""
    return [
        {
            "apiVersion": "dapr.io/v2alpha1",
            "kind": "Subscription",
            "metadata": {"name": f"{app}-{item.topic}"},
            "spec": {
                "pubsubname": _replica_name(values, app) if item.every_replica else values.dapr.pubsub.name,
                "topic": item.topic,
                "routes": {"default": item.route},
                "metadata": {"rawPayload": "true"},
            }
            | (
                {
                    "bulkSubscribe": {
                        "enabled": True,
                        "maxMessagesCount": item.bulk.max_messages,
                        "maxAwaitDurationMs": item.bulk.max_await_ms,
                    }
                }
                if item.bulk
                else {}
            ),
            "scopes": [app],
        }
        for item in values.services[app].subscribes
    ]


def configuration(values: Values, app: str, *, names_database: str) -> Document:
    """The sidecar's Configuration on one machine: names, tracing, low-cardinality metrics, no secrets for the app.

    Access control between apps needs mTLS identities, which there are none of without a control plane: tokens stand in.

    Names are resolved through one SQLite file: mDNS needs multicast, which containers and many offices lack.
    """
    return {
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Configuration",
        "metadata": {"name": app},
        "spec": {
            "nameResolution": {
                "component": "sqlite",
                "version": "v1",
                "configuration": {"connectionString": names_database, "updateInterval": "5s"},
            },
            "tracing": {"samplingRate": values.dapr.tracing.sampling_rate},
            "metrics": {"enabled": True, "http": {"increasedCardinality": False}},
            "secrets": {"scopes": [_secret_scope(values, app)]},
        },
    }


def _secret_scope(values: Values, app: str) -> Document:
    # The state store's connection string is for the component, not for application code.
    allowed = list(values.services[app].secrets)
    return {"storeName": values.dapr.secretstore.name, "defaultAccess": "deny", "allowedSecrets": allowed}


def _replica_name(values: Values, app: str) -> str:
    return f"{values.dapr.pubsub.name}-{app}"


def _scopes(names: Mapping[str, tuple[str, ...]]) -> str:
    return ";".join(f"{name}={','.join(topics)}" for name, topics in names.items())


def _component(
    name: str, kind: str, version: str, metadata: Mapping[str, str], *, scopes: list[str] | None = None
) -> Document:
    document: Document = {
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Component",
        "metadata": {"name": name},
        "spec": {
            "type": kind,
            "version": version,
            "metadata": [{"name": key, "value": value} for key, value in metadata.items()],
        },
    }
    return document | ({"scopes": scopes} if scopes is not None else {})
