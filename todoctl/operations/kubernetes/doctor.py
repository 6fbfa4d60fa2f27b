"""Checks of a platform in a cluster; each says what it saw and the command that fixes it."""

from __future__ import annotations

from functools import partial

from todoctl.adapters.kube.answers import UnreachableError
from todoctl.adapters.kube.api import Kube
from todoctl.adapters.kube.kinds import DEPLOYMENTS, PODS, SECRETS, STATEFUL_SETS, Kind
from todoctl.core.cluster_values import Secret
from todoctl.core.dapr import group_of
from todoctl.core.parts import sidecar_name
from todoctl.core.values import Subscription, Values
from todoctl.errors import TodoctlError, UnhealthyError
from todoctl.operations.checks import Check, Finding, Stores, store_checks, subscription, topic_checks
from todoctl.operations.kubernetes import status, strimzi
from todoctl.operations.kubernetes.pods import Place, Pods, cluster_values, places, version

# Without these the other commands can't work.
_RIGHTS: tuple[tuple[str, Kind, str], ...] = (
    ("list", PODS, ""),
    ("get", PODS, "log"),
    ("create", PODS, "portforward"),
    ("create", PODS, "exec"),
    ("get", SECRETS, ""),
    ("patch", DEPLOYMENTS, ""),
)
_CONTROL_PLANE = ("dapr-operator", "dapr-sentry", "dapr-sidecar-injector")
_KNOWN_FAULTS = {
    "1.16.0": "a raw CloudEvent with a trace field that is not text would crash it (mended in 1.18.3); "
    "our subscriptions take raw payloads, which it does not read",
}
_DEPLOY = "todoctl deploy"


def checks(kube: Kube, values: Values, stores: Stores) -> list[Check]:
    """Everything that can be wrong with the platform; while cluster or namespace are away, what comes before them."""
    seen = Check("cluster", partial(_cluster, kube), "kubectl cluster-info").run()
    first = Check("cluster", lambda: seen)
    if seen.verdict == "fail":
        return [first]
    checks = [first, *_cluster_checks(kube, values)]
    try:
        is_there = kube.has_namespace()
    except UnreachableError as error:
        # It says its version and nothing else: every other check would wait as long for the same words.
        words = f"could not look: {error}"
        return [first, Check("namespace", lambda: Finding("namespace", "fail", words, "kubectl get namespaces"))]
    except TodoctlError:
        # Whoever may not look at it may see what else is wrong.
        is_there = True
    if not is_there:
        return checks
    found, pods = places(values, kube.namespace), Pods(kube)
    checks += [Check("release", partial(_release, kube), "todoctl history"), *_secret_checks(kube, values)]
    checks += [Check(f"part {place.name}", partial(_part, place, pods), "kubectl get pods") for place in found]
    if (kafka := cluster_values(values).kafka.strimzi).enabled:
        look_at_kafka = partial(strimzi.finding, kube, kafka)
        checks.append(Check(f"kafka {kafka.cluster}", look_at_kafka, f"kubectl get kafka -n {kafka.namespace}"))
    checks += [Check("sidecar version", partial(_sidecars, found, pods), "todoctl restart SERVICE")]
    checks += topic_checks(stores, fix="todoctl status")
    for app, service in values.services.items():
        for item in service.subscribes:
            plain = subscription(stores, app, item.topic, group_of(app, item, ""), fix=f"todoctl logs {app}")
            look = partial(_replicas, stores, pods, found, app, item)
            checks.append(Check(plain.name, look, plain.fix) if item.every_replica else plain)
    logs = f"todoctl logs api {sidecar_name('api')}"
    return checks + store_checks(stores, outbox_fix=logs, fix="todoctl status")


def _cluster_checks(kube: Kube, values: Values) -> list[Check]:
    dapr = cluster_values(values).sidecars.control_plane_namespace
    return [
        Check("rights", partial(_rights, kube), "kubectl auth can-i --list"),
        *(
            Check(f"dapr {name}", partial(_control, kube, dapr, name), "todoctl install dapr")
            for name in _CONTROL_PLANE
        ),
        Check("namespace", partial(_namespace, kube), _DEPLOY),
    ]


def _secret_checks(kube: Kube, values: Values) -> list[Check]:
    secrets = cluster_values(values).secrets
    used = {"database": secrets.database, "kafka": secrets.kafka, "smtp": secrets.smtp}
    used |= {"daprToken": secrets.dapr_token, "appToken": secrets.app_token, "serviceToken": secrets.service_token}
    return [
        Check(f"secret {item.name}", partial(_secret, kube, values, key, item), _DEPLOY) for key, item in used.items()
    ]


def _cluster(kube: Kube) -> Finding:
    return Finding("cluster", "ok", f"context {kube.access.context} at {kube.access.server} runs {kube.version()}")


def _rights(kube: Kube) -> Finding:
    lacking = [
        f"{verb} {kind.plural}{f'/{part}' if part else ''}"
        for verb, kind, part in _RIGHTS
        if not kube.may(verb, kind, part=part)
    ]
    if lacking:
        return Finding(
            "rights", "fail", f"not allowed in {kube.namespace}: {', '.join(lacking)}", "ask who runs the cluster"
        )
    return Finding("rights", "ok", f"all that todoctl does in {kube.namespace} is allowed")


def require_namespace(kube: Kube, environment: str) -> None:
    """Return when the environment's namespace is there.

    Raises:
        UnhealthyError: it is not, or the cluster does not answer.
        ForbiddenError: we may not look.
    """
    if not kube.has_namespace():
        raise UnhealthyError(
            f"the environment {environment!r} is not deployed: context {kube.access.context!r} has no namespace "
            f"{kube.namespace}",
            hint=f"todoctl -e {environment} deploy",
        )


def _namespace(kube: Kube) -> Finding:
    if not kube.has_namespace():
        return Finding("namespace", "fail", f"there is no namespace {kube.namespace}", _DEPLOY)
    return Finding("namespace", "ok", kube.namespace)


def _control(kube: Kube, namespace: str, name: str) -> Finding:
    check = f"dapr {name}"
    found = kube.get(DEPLOYMENTS, name, namespace=namespace) or kube.get(STATEFUL_SETS, name, namespace=namespace)
    if found is None:
        return Finding(check, "fail", f"is not in the namespace {namespace}", "todoctl install dapr")
    ready, wanted = int(found.get("status", {}).get("readyReplicas", 0)), int(found["spec"].get("replicas", 1))
    image = str(found["spec"]["template"]["spec"]["containers"][0]["image"]).rpartition(":")[2]
    if ready < wanted:
        return Finding(check, "fail", f"{ready} of {wanted} pods ready", f"kubectl describe pods -n {namespace}")
    return Finding(check, "ok", f"{image}, {ready} of {wanted} pods ready")


def _release(kube: Kube) -> Finding:
    seen = status.running(kube)
    if seen.pending is not None:
        return Finding("release", "fail", f"release {seen.pending} is {seen.pending_state}", "todoctl unlock")
    if seen.revision is None:
        return Finding("release", "fail", "no release is deployed, or its Secret can't be read", _DEPLOY)
    return Finding("release", "ok", f"release {seen.revision}, version {seen.app_version}")


def _secret(kube: Kube, values: Values, which: str, secret: Secret) -> Finding:
    check, cluster = f"secret {secret.name}", cluster_values(values)
    roles = {service.database.role for service in values.services.values() if service.database}
    wanted = {
        "database": {"todo_owner", "todo_operator", values.dapr.statestore.role, *roles},
        "kafka": set() if cluster.kafka.security == "PLAINTEXT" else {"username", "password"},
        "smtp": {"host", "port", "sender", "tls"},
    }.get(which, {"token"})
    lacking = sorted(key for key in wanted - set(kube.secret(secret.name)))
    if lacking:
        return Finding(
            check, "fail", f"has no {', '.join(lacking)}", f"kubectl edit secret {secret.name} -n {kube.namespace}"
        )
    return Finding(check, "ok", f"has {', '.join(sorted(wanted)) or 'nothing that is needed'}")


def _part(place: Place, pods: Pods) -> Finding:
    seen = status.part(place, pods)
    check = f"part {place.name}"
    if not seen.healthy:
        return Finding(
            check, "fail", seen.detail, f"todoctl logs {place.name}; kubectl get events -n {place.namespace}"
        )
    count = len(pods.of(place))
    words = f"{count} {'pod' if count == 1 else 'pods'} ready"
    if seen.early_deaths:
        return Finding(check, "warn", f"{words}; restarted {seen.early_deaths} times", f"todoctl logs {place.name}")
    return Finding(check, "ok", words)


def _sidecars(found: tuple[Place, ...], pods: Pods) -> Finding:
    check = "sidecar version"
    sides = [place for place in found if place.kind == "sidecar"]
    seen = sorted({text for place in sides for pod in pods.of(place) if (text := version(pod, place))})
    if len(seen) != 1:
        stale = f"sidecars of versions {', '.join(seen)}" if seen else "no sidecar runs"
        return Finding(check, "warn", stale, "todoctl restart the services with older ones" if seen else _DEPLOY)
    if known := _KNOWN_FAULTS.get(seen[0]):
        return Finding(check, "warn", f"{seen[0]}: {known}")
    return Finding(check, "ok", seen[0])


def _replicas(stores: Stores, pods: Pods, found: tuple[Place, ...], app: str, item: Subscription) -> Finding:
    """Each replica reads for itself: each must be reached."""
    check, names = f"subscription {app} {item.topic}", status.replicas(pods, found, app)
    results = [subscription(stores, app, item.topic, group_of(app, item, name), fix="").run() for name in names]
    bad = [result for result in results if result.verdict != "ok"]
    if bad or not results:
        seen = "; ".join(result.seen for result in bad) or "no pod runs"
        return Finding(check, "fail", seen, f"todoctl logs {app}; todoctl restart {app}")
    words = "1 replica reads" if len(results) == 1 else f"{len(results)} replicas read"
    return Finding(check, "ok", f"{words} everything; {results[0].seen}")
