"""Who may reach whom: nothing is open that the values don't name."""

from __future__ import annotations

from typing import Any

import pytest

from tests.helm import Chart, Object, nested
from tests.unit.chart.combinations import SERVICES
from todoctl.adapters.chart import read_values


def policies(objects: list[Object]) -> dict[str, Object]:
    """Name → policy."""
    return {item["metadata"]["name"]: item["spec"] for item in objects if item["kind"] == "NetworkPolicy"}


def components(peer: Object) -> set[str]:
    """The components that a peer of this namespace names."""
    expressions = peer.get("podSelector", {}).get("matchExpressions", [])
    return {name for item in expressions for name in item["values"]}


def flows(rules: list[Object], side: str) -> set[tuple[str, Any]]:
    """(component, app of another namespace, namespace or address; port) of every rule."""
    found = set()
    for rule in rules:
        for peer in rule[side]:
            names = components(peer) or {
                peer.get("ipBlock", {}).get("cidr")
                or peer.get("podSelector", {}).get("matchLabels", {}).get("app")
                or peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
            }
            found |= {(name, port["port"]) for name in names for port in rule["ports"]}
    return found


def test_everything_is_denied_first(chart: Chart) -> None:
    """One policy for all pods of the namespace, both ways, with nothing allowed."""
    deny = policies(chart.render("values-cloud.yaml"))["default-deny"]
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_sidecars_reach_what_invokes_names(chart: Chart) -> None:
    """Port 50002 from caller to callee, and from the callee's side; no other pair."""
    found = policies(chart.render("values-cloud.yaml"))
    wanted = {
        (caller, invocation.service)
        for caller, service in read_values(chart.folder).services.items()
        for invocation in service.invokes
    }
    out = {(name, to) for name in SERVICES for to, port in flows(found[name]["egress"], "to") if port == 50002}
    into = {(by, name) for name in SERVICES for by, port in flows(found[name]["ingress"], "from") if port == 50002}
    assert out == wanted
    assert into == wanted


def test_each_service_reaches_what_it_uses(chart: Chart) -> None:
    """Control plane, database, broker, mail and API server by who uses them; pods' ports, not those of Services."""
    cloud = policies(chart.render("values-cloud.yaml"))
    control = {("dapr-operator", 6500), ("dapr-sentry", 50001)}
    database, kafka = {("0.0.0.0/0", 5432)}, {("0.0.0.0/0", port) for port in (9092, 9093, 9096, 30092)}
    mail = {("0.0.0.0/0", 465), ("0.0.0.0/0", 587)}
    private = {(cidr, p) for cidr in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16") for p in (443, 6443, 8443)}
    wanted = {
        "api": control | {("dapr-scheduler-server", 50006)} | database | kafka,
        "auth": control | database,
        "audit": control | database | kafka,
        "recurring": control | database | kafka,
        "notification": control | database | kafka | mail | private,
        "sync": control | database | kafka,
    }
    for name, flow in wanted.items():
        found = {(to, port) for to, port in flows(cloud[name]["egress"], "to") if port != 50002}
        assert found == flow, name


def test_who_may_come_in(chart: Chart) -> None:
    """The ingress controller reaches what is public, Prometheus all, the world only an open Service."""
    cloud = policies(chart.render("values-cloud.yaml", values=nested("kubernetes.monitoring.namespace", "watch")))
    for name in SERVICES:
        found = {(by, port) for by, port in flows(cloud[name]["ingress"], "from") if port != 50002}
        wanted = {("test", "http"), ("watch", "http"), ("watch", 9090)}
        wanted |= {("ingress-nginx", "http")} if name in {"api", "sync"} else set()
        wanted |= {("0.0.0.0/0", "http")} if name == "sync" else set()
        assert found == wanted, name


def test_an_open_service_can_be_open_to_few(chart: Chart) -> None:
    """The Service's ranges are the policy's, too."""
    ranges = ["203.0.113.0/24"]
    objects = chart.render("values-cloud.yaml", values=nested("kubernetes.workloads.sync.service.sourceRanges", ranges))
    found = flows(policies(objects)["sync"]["ingress"], "from")
    assert ("203.0.113.0/24", "http") in found
    assert not [by for by, _ in found if by == "0.0.0.0/0"]
    (service,) = [o for o in objects if o["kind"] == "Service" and o["metadata"]["name"] == "sync"]
    assert service["spec"]["loadBalancerSourceRanges"] == ranges


def test_locally_nothing_leaves_the_cluster(chart: Chart) -> None:
    """Database, broker and mail are inside; only the way to the API server is an address."""
    local = policies(chart.render("values-local.yaml"))
    for name in SERVICES:
        outside = {(to, port) for to, port in flows(local[name]["egress"], "to") if "/" in str(to)}
        assert not outside if name != "notification" else {port for _, port in outside} == {443, 6443, 8443}
    assert flows(local["postgresql"]["ingress"], "from") == {
        (name, 5432) for name in ("api", "audit", "auth", "migrations", "notification", "recurring", "sync")
    }
    assert flows(local["mailsink"]["ingress"], "from") == {("notification", 1025)}
    assert ("kafka", 9092) in flows(local["api"]["egress"], "to")
    assert local["postgresql"]["egress"] == local["mailsink"]["egress"] == []


@pytest.mark.parametrize("overlay", ["values-local.yaml", "values-cloud.yaml"])
def test_every_pod_has_a_policy(chart: Chart, overlay: str) -> None:
    """Beside the denial, each thing that runs is selected by just one policy of its own."""
    objects = chart.render(overlay)
    selectors = [spec["podSelector"]["matchLabels"] for spec in policies(objects).values() if spec["podSelector"]]
    for item in objects:
        if item["kind"] in {"Deployment", "StatefulSet", "Job"}:
            labels = item["spec"]["template"]["metadata"]["labels"]
            assert len([s for s in selectors if s.items() <= labels.items()]) == 1, item["metadata"]["name"]
