"""What the chart makes of its values, and which values it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from alembic.script import ScriptDirectory

from services.migrations import runner
from tests.helm import KUBERNETES, Chart, Object, merged, nested
from tests.unit.chart.combinations import COMBINATIONS, DIGEST
from todoctl.adapters.chart import read_values
from todoctl.core.topics import wanted_topics


def of(objects: list[Object], kind: str) -> dict[str, Object]:
    """Name → object of a kind."""
    return {item["metadata"]["name"]: item for item in objects if item["kind"] == kind}


def environment(deployment: Object) -> dict[str, Any]:
    """Variable → value or reference of the service's container."""
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return {item["name"]: item.get("value", item.get("valueFrom")) for item in container["env"]}


@pytest.mark.parametrize("name", COMBINATIONS)
def test_every_combination_renders_without_a_warning(chart: Chart, name: str) -> None:
    """`helm template` and strict `helm lint` accept it, and no two objects have one name."""
    overlays, values = COMBINATIONS[name]
    objects = chart.render(*overlays, values=values)
    keys = [(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]) for o in objects]
    assert len(keys) == len(set(keys))


@pytest.mark.parametrize("overlay", ["values-local.yaml", "values-cloud.yaml"])
def test_lint_has_nothing_to_say(chart: Chart, overlay: str) -> None:
    """Strict, so that a warning would count."""
    done = chart.run(
        "lint", "--strict", "--kube-version", KUBERNETES, str(chart.folder), "--values", str(chart.folder / overlay)
    )
    assert done.returncode == 0, done.stdout


def test_a_service_is_one_entry(chart: Chart) -> None:
    """A new entry of `services` gets everything that the others have."""
    overlays, values = COMBINATIONS["a service more"]
    objects = chart.render(*overlays, values=values)
    kinds = {o["kind"] for o in objects if o["metadata"]["name"] == "reports"}
    assert kinds >= {"Deployment", "Service", "ServiceAccount", "PodDisruptionBudget", "HorizontalPodAutoscaler"}
    assert kinds >= {"Configuration", "NetworkPolicy"}
    assert "reports-task-events" in of(objects, "Subscription")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (nested("surplus", 1), "surplus"),
        (nested("kubernetes.ingress.hots", "x"), "hots"),
        (nested("services.api.prot", 1), "prot"),
        (nested("services.Api", {"port": 8000}), "Api"),
        (nested("kubernetes.workloads.default.resources.limits.memory", "lots"), "memory"),
        (nested("kubernetes.images.digests.api", "sha256:short"), "api"),
        (nested("kubernetes.workloads.absent", {"replicas": 1}), "there is no such service"),
        (nested("services.api.publishes", ["absent"]), "publishes to absent"),
        (nested("services.audit.subscribes", [{"topic": "absent", "route": "/x"}]), "reads absent"),
        (nested("services.sync.invokes", [{"service": "absent", "paths": ["/"]}]), "calls absent"),
        (nested("services.api.secrets", ["todo-database"]), "reads the secret todo-database"),
        (nested("kubernetes.kafka.brokers", "b:9092"), "give brokers, or enable strimzi"),
        (nested("kubernetes.kafka.strimzi.enabled", False), "give brokers, or enable strimzi"),
        (nested("kafka", {"replication": 2, "minInSyncReplicas": 3}), "nothing could be written"),
        (nested("kafka.replication", 5), "larger than kubernetes.kafka.strimzi.nodes"),
        (nested("kubernetes.secrets.smtp.values", {"host": "h"}), "source is existing"),
        (nested("kubernetes.secrets.smtp.source", "sealed"), "source is sealed"),
        (
            nested("kubernetes.secrets.smtp", {"source": "values", "values": {"a": "b"}, "sealed": {"a": "c"}}),
            "given: sealed, values",
        ),
        (nested("kubernetes.workloads.default.sidecar.limits.memory", "1G"), "write whole Mi or Gi"),
    ],
)
def test_a_mistake_is_refused_and_named(chart: Chart, values: dict[str, Any], said: str) -> None:
    """Unknown keys by the schema, references and contradictions by the templates; nothing is rendered."""
    done = chart.template(values=values)
    assert done.returncode != 0
    assert said in done.stderr


@pytest.mark.parametrize("overlay", ["values-local.yaml", "values-cloud.yaml", "values-processes.yaml"])
def test_todoctl_accepts_what_helm_accepts(chart: Chart, overlay: str) -> None:
    """The model that todoctl reads the same files with."""
    assert read_values(chart.folder, (chart.folder / overlay,)).kubernetes is not None


def test_an_image_is_named_by_its_digest_before_its_tag(chart: Chart) -> None:
    """A digest where there is one, else the tag, else the chart's appVersion."""
    values = nested("kubernetes.images", {"registry": "r.example.org/x/", "tag": "1.2", "digests": {"api": DIGEST}})
    found = {
        name: item["spec"]["template"]["spec"]["containers"][0]["image"]
        for name, item in of(chart.render(values=values), "Deployment").items()
    }
    assert found["api"] == f"r.example.org/x/todo-api@{DIGEST}"
    assert found["auth"] == "r.example.org/x/todo-auth:1.2"
    plain = of(chart.render(), "Deployment")["auth"]["spec"]["template"]["spec"]
    assert plain["containers"][0]["image"] == "todo-auth:0.1.0"
    assert plain["initContainers"][0]["image"] == "todo-auth:0.1.0"


def test_a_service_has_the_environment_that_it_needs(chart: Chart) -> None:
    """Tokens and database by reference; each service only its own role."""
    deployments = of(chart.render("values-cloud.yaml"), "Deployment")
    audit, sync, api = (environment(deployments[name]) for name in ("audit", "sync", "api"))
    assert audit["DATABASE_URL"] == {"secretKeyRef": {"name": "todo-database", "key": "audit"}}
    assert "DATABASE_URL" not in sync
    assert sync["POD_NAME"] == {"fieldRef": {"fieldPath": "metadata.name"}}
    assert sync["ALLOWED_ORIGINS"] == "https://todo.example.org"
    assert api["SYNC_URL"] == "https://todo.example.org"
    assert environment(deployments["notification"])["PUBLIC_URL"] == "https://todo.example.org"
    for deployment in deployments.values():
        said = environment(deployment)
        assert all("secretKeyRef" in said[name] for name in ("DAPR_API_TOKEN", "APP_API_TOKEN", "SERVICE_TOKEN"))


def test_a_stop_leaves_the_sidecar_longer_than_the_service(chart: Chart) -> None:
    """Drain and grace of the service, then the sidecar, then the pod's own limit."""
    for deployment in of(chart.render("values-cloud.yaml"), "Deployment").values():
        said, pod = environment(deployment), deployment["spec"]["template"]
        service = int(said["DRAIN_SECONDS"]) + int(said["GRACEFUL_SECONDS"])
        notes = pod["metadata"]["annotations"]
        blocks = int(notes["dapr.io/block-shutdown-duration"].removesuffix("s"))
        sidecar = blocks + int(notes["dapr.io/graceful-shutdown-seconds"])
        assert service < blocks < sidecar < pod["spec"]["terminationGracePeriodSeconds"]


def test_only_the_app_with_jobs_knows_the_scheduler(chart: Chart) -> None:
    """A space keeps the injector from filling in the address."""
    for name, deployment in of(chart.render(), "Deployment").items():
        notes = deployment["spec"]["template"]["metadata"]["annotations"]
        assert notes.get("dapr.io/scheduler-host-address") == (None if name == "api" else " ")
        assert notes["dapr.io/placement-host-address"] == " "


def test_a_changed_component_restarts_the_sidecars_that_read_it(chart: Chart) -> None:
    """And no others: the checksum of a pod covers what its own sidecar loads."""

    def checksums(values: dict[str, Any]) -> dict[str, str]:
        found = of(chart.render(values=values), "Deployment")
        return {n: d["spec"]["template"]["metadata"]["annotations"]["checksum/dapr"] for n, d in found.items()}

    before, after = checksums({}), checksums(nested("dapr.statestore.metadata.timeout", "11s"))
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"notification", "recurring", "sync"}


def test_the_migration_is_named_by_its_revision_and_what_it_runs(chart: Chart) -> None:
    """The newest revision of the code. A Job can't be changed: another image makes another Job, the same values the same one."""

    def name(values: dict[str, Any]) -> str:
        (job,) = of(chart.render(values=values), "Job")
        return job

    head = ScriptDirectory(str(Path(runner.__file__).parent)).get_current_head()
    first = name({})
    assert first.startswith(f"migrate-{head}-")
    assert name({}) == first
    assert name(nested("kubernetes.images.tag", "next")) != first


def test_replicas_belong_to_the_autoscaler_where_there_is_one(chart: Chart) -> None:
    """Rendered beside it they would set a busy service back at every upgrade."""
    objects = chart.render("values-cloud.yaml")
    assert all("replicas" not in item["spec"] for item in of(objects, "Deployment").values())
    assert of(objects, "HorizontalPodAutoscaler")["api"]["spec"]["minReplicas"] == 3
    local = chart.render("values-local.yaml")
    assert of(local, "Deployment")["api"]["spec"]["replicas"] == 1
    assert not of(local, "HorizontalPodAutoscaler")


def test_a_secret_has_one_source(chart: Chart) -> None:
    """Existing: nothing is made; sealed: a SealedSecret; values: a Secret. Never two of them."""
    assert not of(chart.render(), "Secret")
    assert not of(chart.render(), "SealedSecret")
    overlays, values = COMBINATIONS["sealed secrets"]
    sealed_objects = chart.render(*overlays, values=values)
    assert set(of(sealed_objects, "SealedSecret")) == {
        "todo-database",
        "todo-dapr-token",
        "todo-app-token",
        "todo-service-token",
        "smtp",
        "todo-kafka",
    }
    assert not of(sealed_objects, "Secret")
    local = chart.render("values-local.yaml")
    assert not of(local, "SealedSecret")
    places = [(o["metadata"]["namespace"], o["metadata"]["name"]) for o in local if o["kind"] == "Secret"]
    assert ("todo-app-test", "smtp") in places
    assert ("kafka", "todo-kafka") in places


def test_topics_are_those_that_todoctl_wants(chart: Chart) -> None:
    """Strimzi is told what `topics` compares with."""
    wanted = wanted_topics(read_values(chart.folder))
    found = of(chart.render(), "KafkaTopic")
    assert set(found) == {topic.name for topic in wanted}
    for topic in wanted:
        spec = found[topic.name]["spec"]
        assert (spec["partitions"], spec["replicas"]) == (topic.partitions, topic.replication)
        assert {key: str(value) for key, value in spec["config"].items()} == topic.config


def test_strimzi_gets_three_nodes_and_two_accounts(chart: Chart) -> None:
    """Three nodes that are broker and controller; the sidecars' account may touch our topics and groups only."""
    objects = chart.render()
    (pool,) = of(objects, "KafkaNodePool").values()
    assert (pool["spec"]["replicas"], set(pool["spec"]["roles"])) == (3, {"broker", "controller"})
    users = of(objects, "KafkaUser")
    acls = users["todo"]["spec"]["authorization"]["acls"]
    assert {acl["resource"]["name"] for acl in acls if acl["resource"]["type"] == "topic"} == set(
        of(objects, "KafkaTopic")
    ) - {"dlq-decisions"}
    assert not [acl for acl in acls if acl["resource"]["name"] == "*"]
    assert {
        (a["resource"]["name"], a["resource"]["patternType"]) for a in acls if a["resource"]["type"] == "group"
    } == {
        ("api", "literal"),
        ("audit", "literal"),
        ("notification", "literal"),
        ("recurring", "literal"),
        ("sync", "prefix"),
    }
    assert {o["apiVersion"] for o in objects if o["kind"].startswith("Kafka")} == {"kafka.strimzi.io/v1"}
    kept = [o for o in objects if o["kind"].startswith("Kafka")]
    assert all(o["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep" for o in kept)


def test_the_ingress_leads_to_what_is_public(chart: Chart) -> None:
    """The page and the sockets, with TLS and the certificate's issuer; nothing else."""
    (ingress,) = of(chart.render("values-cloud.yaml"), "Ingress").values()
    (rule,) = ingress["spec"]["rules"]
    paths = {item["path"]: item["backend"]["service"]["name"] for item in rule["http"]["paths"]}
    assert paths == {"/": "api", "/socket.io": "sync"}
    assert ingress["spec"]["tls"] == [{"hosts": ["todo.example.org"], "secretName": "todo-tls"}]
    assert ingress["metadata"]["annotations"]["cert-manager.io/cluster-issuer"] == "letsencrypt"


def test_sockets_get_a_balancer_in_the_cloud_only(chart: Chart) -> None:
    """The others are reached inside the cluster; rows of requests stay at one replica."""
    services = of(chart.render("values-cloud.yaml"), "Service")
    assert {name for name, item in services.items() if item["spec"]["type"] != "ClusterIP"} == {"sync"}
    assert services["sync"]["spec"]["type"] == "LoadBalancer"
    assert services["sync"]["spec"]["sessionAffinity"] == "ClientIP"
    assert of(chart.render(), "Service")["sync"]["spec"]["type"] == "ClusterIP"


def test_development_servers_are_for_development(chart: Chart) -> None:
    """PostgreSQL and the mail sink are in the local overlay alone."""
    assert "postgresql" in of(chart.render("values-local.yaml"), "StatefulSet")
    assert "mailsink" in of(chart.render("values-local.yaml"), "Deployment")
    for objects in (chart.render(), chart.render("values-cloud.yaml")):
        assert not of(objects, "StatefulSet")
        assert "mailsink" not in of(objects, "Deployment")


def test_prometheus_is_told_where_to_look(chart: Chart) -> None:
    """Services, sidecars and Strimzi's pods, with the labels that its operator selects by; nothing unless asked."""
    objects = chart.render(
        values=merged(nested("kubernetes.monitoring", {"enabled": True, "labels": {"release": "m"}}))
    )
    monitors = {**of(objects, "ServiceMonitor"), **of(objects, "PodMonitor")}
    assert set(monitors) == {"services", "sidecars", "kafka"}
    assert all(item["metadata"]["labels"]["release"] == "m" for item in monitors.values())
    assert not of(chart.render(), "ServiceMonitor")
