"""What a reviewer of manifests would find: every rule holds for every object of every combination of values."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.helm import Chart, Object, nested
from tests.unit.chart.combinations import COMBINATIONS, DIGEST, SERVICES

_UNITS = {"": 1, "m": 0.001, "k": 1e3, "M": 1e6, "G": 1e9, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
_ALLOWED_VOLUMES = {"configMap", "downwardAPI", "emptyDir", "persistentVolumeClaim", "projected", "secret"}


def amount(text: object) -> float:
    """A quantity of Kubernetes as a number."""
    found = re.fullmatch(r"([0-9.]+)(\D*)", str(text))
    assert found, text
    return float(found[1]) * _UNITS[found[2]]


def pods(objects: list[Object]) -> Iterator[tuple[str, Object]]:
    """Name and pod template (or pod) of everything that runs."""
    for item in objects:
        if item["kind"] == "Pod":
            yield item["metadata"]["name"], item
        elif item["kind"] in {"Deployment", "StatefulSet", "Job", "DaemonSet", "CronJob"}:
            yield item["metadata"]["name"], item["spec"]["template"]


def containers(pod: Object) -> list[Object]:
    """Every container of a pod, those that run first included."""
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def findings(objects: list[Object]) -> Iterator[str]:
    """What is wrong, in words."""
    for name, pod in pods(objects):
        yield from (f"{name}: {words}" for words in _pod_findings(pod))
        for container in containers(pod):
            yield from (f"{name}/{container['name']}: {words}" for words in _container_findings(container))
    yield from _reference_findings(objects)
    yield from _rights_findings(objects)


def _pod_findings(pod: Object) -> Iterator[str]:
    spec, security = pod["spec"], pod["spec"].get("securityContext", {})
    if not security.get("runAsNonRoot") or not security.get("runAsUser"):
        yield "may run as root, or its user is not a number"
    if security.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "has no seccomp profile"
    if spec.get("automountServiceAccountToken") is not False:
        yield "gets a token for the API server"
    if spec.get("serviceAccountName", "default") == "default":
        yield "runs as the namespace's default account"
    if any(spec.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")):
        yield "shares a namespace of the node"
    for volume in spec.get("volumes", []):
        if kinds := set(volume) - {"name"} - _ALLOWED_VOLUMES:
            yield f"mounts {kinds}"
    sidecar = pod["metadata"].get("annotations", {}).get("dapr.io/enabled") == "true"
    if sidecar and "50001-50002" not in [item["value"] for item in security.get("sysctls", [])]:
        yield "may give a port of its sidecar to a connection that goes out"


def _container_findings(container: Object) -> Iterator[str]:
    yield from _resource_findings(container.get("resources", {}))
    security = container.get("securityContext", {})
    if security.get("allowPrivilegeEscalation") is not False or security.get("privileged"):
        yield "may become more than it is"
    if security.get("capabilities") != {"drop": ["ALL"]}:
        yield "keeps capabilities"
    if not security.get("readOnlyRootFilesystem"):
        yield "can write to its image"
    if re.search(r":latest$|^[^:@]+$", container["image"]):
        yield f"image {container['image']} has no version"
    for variable in container.get("env", []):
        if re.search("PASSWORD|TOKEN|SECRET(?!_STORE)|URL$", variable["name"]) and _is_clear(variable):
            yield f"{variable['name']} is in clear text"
    if any("hostPort" in port for port in container.get("ports", [])):
        yield "opens a port of the node"


def _resource_findings(resources: Object) -> Iterator[str]:
    for kind in ("requests", "limits"):
        if set(resources.get(kind, {})) < {"cpu", "memory"}:
            yield f"has no {kind}"
    if "requests" in resources and "limits" in resources:
        for what in ("cpu", "memory"):
            if amount(resources["requests"][what]) > amount(resources["limits"][what]):
                yield f"requests more {what} than its limit"


def _is_clear(variable: Object) -> bool:
    return "value" in variable and not re.fullmatch(r"https?://[a-z0-9.:-]+", variable["value"])


def _reference_findings(objects: list[Object]) -> Iterator[str]:
    accounts = {o["metadata"]["name"] for o in objects if o["kind"] == "ServiceAccount"}
    templates = [(name, pod["metadata"].get("labels", {})) for name, pod in pods(objects)]
    for name, pod in pods(objects):
        if pod["spec"]["serviceAccountName"] not in accounts:
            yield f"{name}: there is no account {pod['spec']['serviceAccountName']}"
    for item in objects:
        if item["kind"] not in {"Service", "PodDisruptionBudget", "Deployment", "StatefulSet"}:
            continue
        selector = item["spec"]["selector"]
        selector = selector if item["kind"] == "Service" else selector["matchLabels"]
        chosen = {name for name, labels in templates if selector.items() <= labels.items()}
        if len(chosen) != 1:
            yield f"{item['kind']} {item['metadata']['name']} selects {chosen or 'nothing'}"


def _rights_findings(objects: list[Object]) -> Iterator[str]:
    for item in objects:
        if item["kind"].startswith("Cluster"):
            yield f"{item['kind']} {item['metadata']['name']}: rights in the whole cluster"
        if item["kind"] == "Role":
            for rule in item["rules"]:
                if not rule.get("resourceNames") or rule["verbs"] != ["get"]:
                    yield f"Role {item['metadata']['name']}: more than reading what it names"


@pytest.mark.parametrize("name", COMBINATIONS)
def test_nothing_is_found(chart: Chart, name: str) -> None:
    """Pod Security "restricted", resources, references and least rights."""
    overlays, values = COMBINATIONS[name]
    objects = chart.render(*overlays, values=values)
    assert len(list(pods(objects))) >= 5
    assert list(findings(objects)) == []


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("spec.template.spec.securityContext.runAsNonRoot", False, "may run as root"),
        ("spec.template.spec.automountServiceAccountToken", True, "gets a token"),
        ("spec.template.spec.serviceAccountName", "absent", "there is no account absent"),
        ("spec.selector.matchLabels.app.kubernetes.io/component", "absent", "selects nothing"),
    ],
)
def test_the_rules_see_what_is_wrong(chart: Chart, path: str, value: object, said: str) -> None:
    """A rule that finds nothing in a spoilt object would be worth nothing."""
    objects = chart.render()
    (deployment,) = [o for o in objects if o["kind"] == "Deployment" and o["metadata"]["name"] == "auth"]
    before, dot, last = path.partition("app.kubernetes.io/component")
    *folders, key = path.split(".") if not dot else [*before.strip(".").split("."), dot + last]
    place = deployment
    for folder in folders:
        place = place[folder]
    place[key] = value
    assert any(said in words for words in findings(objects))


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_probed_and_spread(chart: Chart, name: str) -> None:
    """Started, alive and ready are three questions; replicas lie on different nodes, and one of them stays up."""
    objects = chart.render("values-cloud.yaml")
    (deployment,) = [o for o in objects if o["kind"] == "Deployment" and o["metadata"]["name"] == name]
    spec = deployment["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert "startupProbe" in container
    assert spec["topologySpreadConstraints"]
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}
    (budget,) = [o for o in objects if o["kind"] == "PodDisruptionBudget" and o["metadata"]["name"] == name]
    assert budget["spec"]["maxUnavailable"] == 1


def test_sidecars_are_as_restricted_and_bounded(chart: Chart) -> None:
    """What the injector makes a sidecar from: seccomp, limits, tokens, no right to every Secret."""
    for name, pod in pods(chart.render()):
        notes = pod["metadata"].get("annotations", {})
        if notes.get("dapr.io/enabled") != "true":
            assert name not in SERVICES
            continue
        assert notes["dapr.io/sidecar-seccomp-profile-type"] == "RuntimeDefault"
        assert notes["dapr.io/disable-builtin-k8s-secret-store"] == "true"
        assert notes["dapr.io/api-token-secret"]
        assert notes["dapr.io/app-token-secret"]
        for what in ("cpu", "memory"):
            request, limit = (notes[f"dapr.io/sidecar-{what}-{kind}"] for kind in ("request", "limit"))
            assert 0 < amount(request) <= amount(limit)
        go, limit = (
            notes["dapr.io/env"].removeprefix("GOMEMLIMIT=").removesuffix("B"),
            notes["dapr.io/sidecar-memory-limit"],
        )
        assert 0.85 * amount(limit) < amount(go) < amount(limit)
        assert all(isinstance(value, str) for value in notes.values())


def test_only_a_sidecar_that_reads_secrets_may_ask_the_api_server(chart: Chart) -> None:
    """One account with one right to one Secret; its token is in the sidecar and not in the service."""
    objects = chart.render()
    (role,) = [o for o in objects if o["kind"] == "Role"]
    assert role["metadata"]["name"] == "notification"
    assert role["rules"] == [{"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["smtp"], "verbs": ["get"]}]
    for name, pod in pods(objects):
        tokens = [volume for volume in pod["spec"].get("volumes", []) if "projected" in volume]
        assert bool(tokens) == (name == "notification")
        mounted = {mount["name"] for item in containers(pod) for mount in item.get("volumeMounts", [])}
        assert not mounted & {volume["name"] for volume in tokens}


def test_the_local_overlay_fits_a_laptop(chart: Chart) -> None:
    """All limits together, sidecars, brokers and Strimzi's operators included, stay below 6.5 GB; requests below 2.5 CPUs."""
    objects = chart.render("values-local.yaml")
    memory, cpu = 0.0, 0.0
    for name, pod in pods(objects):
        if name.endswith("-ready"):
            continue
        running = pod["spec"]["containers"]
        notes = pod["metadata"].get("annotations", {})
        memory += sum(amount(item["resources"]["limits"]["memory"]) for item in running)
        memory += amount(notes.get("dapr.io/sidecar-memory-limit", "0"))
        cpu += sum(amount(item["resources"]["requests"]["cpu"]) for item in running)
        cpu += amount(notes.get("dapr.io/sidecar-cpu-request", "0"))
    (pool,) = [o for o in objects if o["kind"] == "KafkaNodePool"]
    memory += pool["spec"]["replicas"] * amount(pool["spec"]["resources"]["limits"]["memory"])
    cpu += pool["spec"]["replicas"] * amount(pool["spec"]["resources"]["requests"]["cpu"])
    (kafka,) = [o for o in objects if o["kind"] == "Kafka"]
    for operator in kafka["spec"]["entityOperator"].values():
        memory += amount(operator["resources"]["limits"]["memory"])
        cpu += amount(operator["resources"]["requests"]["cpu"])
    assert memory < 6.5e9
    assert cpu < 2.5


def test_a_release_by_digest_has_no_tag_left(chart: Chart) -> None:
    """With a digest for each image, nothing that runs is named by a tag."""
    digests = dict.fromkeys((*SERVICES, "migrations"), DIGEST)
    objects = chart.render("values-cloud.yaml", values=nested("kubernetes.images.digests", digests))
    images = {container["image"] for _, pod in pods(objects) for container in containers(pod)}
    assert all(f"@{DIGEST}" in image for image in images)


def test_labels_are_the_recommended_ones(chart: Chart) -> None:
    """On every object; a selector never holds a version, which would keep it from being upgraded."""
    for item in chart.render("values-local.yaml"):
        labels = item["metadata"]["labels"]
        for key in ("name", "instance", "component", "part-of", "version", "managed-by"):
            assert f"app.kubernetes.io/{key}" in labels, item["metadata"]["name"]
        if item["kind"] == "Deployment":
            assert "app.kubernetes.io/version" not in item["spec"]["selector"]["matchLabels"]
