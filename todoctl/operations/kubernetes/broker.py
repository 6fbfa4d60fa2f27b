"""Kafka of a platform in a cluster, as this machine reaches it: as the chart's values say."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping

from todoctl.adapters.kafka.client import Broker
from todoctl.adapters.kafka.gateway import Gateway
from todoctl.adapters.kube.api import Kube
from todoctl.adapters.kube.streams import Dialled
from todoctl.core.cluster_values import Cluster
from todoctl.core.ports import LOOPBACK
from todoctl.errors import UnhealthyError, UsageError
from todoctl.operations.kubernetes.reach import Reach, require_open

_MECHANISMS = {"SHA-256": "SCRAM-SHA-256", "SHA-512": "SCRAM-SHA-512", "PLAIN": "PLAIN"}


def of_chart(cluster: Cluster, reach: Reach, name: str) -> Broker:
    """The broker that the sidecars use, with the account that they or, with Strimzi, todoctl has.

    Raises:
        UnhealthyError: it is not reached from this machine, or a Secret is missing.
    """
    kafka = cluster.kafka
    if kafka.strimzi.enabled:
        return _strimzi(cluster, reach, name)
    addresses = _addresses(kafka.brokers)
    secret = {} if kafka.security == "PLAINTEXT" else reach.kube.secret(cluster.secrets.kafka.name)
    account = _account(kafka.mechanism, secret) if secret else {}
    authority = secret.get("ca.crt", "") if kafka.own_authority else ""
    if any(reach.inside(*address) for address in addresses):
        tls = _tls(authority) if kafka.security == "SASL_SSL" else None
        return _by_gateway(reach, addresses, tls, account, name)
    require_open("Kafka", addresses)
    settings = {"bootstrap.servers": kafka.brokers, "security.protocol": kafka.security, **account}
    return Broker(settings | ({"ssl.ca.pem": authority} if authority else {}), name=name)


def _strimzi(cluster: Cluster, reach: Reach, name: str) -> Broker:
    strimzi = cluster.kafka.strimzi
    host = f"{strimzi.cluster}-kafka-bootstrap.{strimzi.namespace}.svc"
    password = _key(reach.kube, strimzi.namespace, strimzi.operator_user, "password")
    account = _account("SHA-512", {"username": strimzi.operator_user, "password": password})
    tls = None
    if strimzi.tls:
        tls = _tls(_key(reach.kube, strimzi.namespace, f"{strimzi.cluster}-cluster-ca-cert", "ca.crt"))
    return _by_gateway(reach, [(host, 9093 if strimzi.tls else 9092)], tls, account, name)


def _by_gateway(
    reach: Reach, addresses: list[tuple[str, int]], tls: ssl.SSLContext | None, account: Mapping[str, str], name: str
) -> Broker:
    """Ports of this machine that stand for the brokers; TLS is the gateway's matter, passwords go through."""

    async def dial(host: str, port: int) -> Dialled:
        target = await asyncio.to_thread(reach.inside, host, port)
        if target is None:
            return await asyncio.open_connection(host, port, ssl=tls)
        return await reach.streams.dial(target, tls=tls, name=host)

    gateway = Gateway(reach.streams.listen, dial)
    ports = [reach.streams.call(gateway.port(host, port)) for host, port in addresses]
    servers = ",".join(f"{LOOPBACK}:{port}" for port in ports)
    protocol = "SASL_PLAINTEXT" if account else "PLAINTEXT"
    return Broker({"bootstrap.servers": servers, "security.protocol": protocol, **account}, name=name)


def _account(mechanism: str, secret: Mapping[str, str]) -> dict[str, str]:
    try:
        account = {"sasl.username": secret["username"], "sasl.password": secret["password"]}
    except KeyError as error:
        raise UnhealthyError(f"the Secret for Kafka has no key {error}", hint="todoctl doctor") from error
    return {"sasl.mechanism": _MECHANISMS[mechanism], **account}


def _key(kube: Kube, namespace: str, name: str, key: str) -> str:
    secret = kube.secret(name, namespace=namespace)
    if key not in secret:
        raise UnhealthyError(f"the Secret {name} in {namespace} has no key {key}", hint="todoctl doctor")
    return secret[key]


def _tls(authority: str) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=authority or None)


def _addresses(brokers: str) -> list[tuple[str, int]]:
    found = []
    for item in brokers.split(","):
        host, _, port = item.strip().rpartition(":")
        if not host or not port.isdigit():
            raise UsageError(f"kubernetes.kafka.brokers: {item!r} is not HOST:PORT", hint="todoctl env show")
        found.append((host, int(port)))
    return found
