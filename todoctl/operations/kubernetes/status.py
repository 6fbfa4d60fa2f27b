"""What is observed of a platform in a cluster: its pods, what lies outside, the release, lag and outbox."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from todoctl.adapters import postgres
from todoctl.adapters.helm import Release as Revision
from todoctl.adapters.kafka import client
from todoctl.adapters.kube.answers import ForbiddenError
from todoctl.adapters.kube.api import Kube, Object
from todoctl.adapters.kube.kinds import SECRETS
from todoctl.core.parts import OPERATOR_ROLE, Kind
from todoctl.core.releases import deployed, pending, to_go_back_to
from todoctl.core.values import Values
from todoctl.errors import TodoctlError
from todoctl.operations import status as shared
from todoctl.operations.kubernetes import lock
from todoctl.operations.kubernetes.pods import (
    CHART,
    Place,
    Pods,
    cluster_values,
    missing,
    places,
    started,
    state_of,
    version,
)
from todoctl.operations.kubernetes.records import Records, history
from todoctl.operations.kubernetes.serving import serving
from todoctl.operations.platform import Platform
from todoctl.operations.status import PartStatus, RunningRelease, Status

RELEASE = CHART  # the name of the one Helm release that a namespace has
_YOUNG = 60.0  # seconds in which a pod that is not ready is starting, not sick


def observe(name: str, values: Values, kube: Kube, there: Platform) -> Status:
    """Look at everything at once; what can't be looked at is not healthy."""
    found = places(values, kube.namespace)
    pods = Pods(kube)
    with ThreadPoolExecutor(max_workers=16) as pool:
        outside = [pool.submit(look, values, there) for look in _outside(values)]
        release = pool.submit(running, kube)
        behind = [
            pool.submit(shared.lag, values, app, replicas(pods, found, app), there.broker)
            for app, service in values.services.items()
            if service.subscribes
        ]
        box = pool.submit(shared.outbox, lambda: there.database_url(OPERATOR_ROLE))
        parts = [future.result() for future in outside] + [part(place, pods) for place in found]
        lag = tuple(row for future in behind for row in future.result())
        order = ("database", "broker", "scheduler", "mail")
        parts.sort(key=lambda item: order.index(item.kind) if item.kind in order else len(order))
        return Status(name, all(item.healthy for item in parts), release.result(), tuple(parts), lag, box.result())


def part(place: Place, pods: Pods) -> PartStatus:
    """A part as its pods show it."""
    seen = pods.of(place)
    complaints = {str(pod["metadata"]["name"]): why for pod in seen if (why := missing(pod, place)) is not None}
    starts = [moment for pod in seen if (moment := started(pod, place)) is not None]
    youngest = max(starts, default=None)
    is_healthy = not complaints and len(seen) >= max(place.wanted, 1)
    return PartStatus(
        name=place.name,
        kind=place.kind,
        healthy=is_healthy,
        state="ready" if is_healthy else _word(seen, place),
        detail=_detail(seen, complaints, place),
        version=next((found for pod in reversed(seen) if (found := version(pod, place))), None),
        address=place.address,
        pid=None,
        uptime_seconds=round((datetime.now(UTC) - youngest).total_seconds(), 1) if youngest else None,
        memory_bytes=pods.memory(place),
        early_deaths=sum(int(state_of(pod, place).get("restartCount", 0)) for pod in seen),
    )


def replicas(pods: Pods, found: tuple[Place, ...], app: str) -> list[str]:
    """The names of the pods of a service."""
    place = next(place for place in found if place.name == app)
    return [str(pod["metadata"]["name"]) for pod in pods.of(place)]


def running(kube: Kube) -> RunningRelease:
    """The release that runs, and one that is pending; nothing is told where we may not read Secrets."""
    try:
        known = kube.names(SECRETS, selector=f"owner=helm,name={RELEASE}")
        revisions = [_revision(kube.namespace, item["labels"]) for item in known]
        found = history(revisions, Records(kube, RELEASE).all())
        # While a release is made, what ran before runs on.
        runs, waiting = deployed(found) or to_go_back_to(found), pending(found)
        document = _release(kube, runs.revision) if runs else {}
        serves = serving(kube) if runs else None
        holder = lock.holder(kube, f"{RELEASE}-releases") if waiting else None
    except ForbiddenError:
        return RunningRelease(None, None, None, None, None, None)
    return RunningRelease(
        revision=runs.revision if runs else None,
        app_version=_at(document, "chart", "metadata", "appVersion"),
        schema_revision=_at(document, "config", "kubernetes", "migration", "revision")
        or _at(document, "chart", "values", "kubernetes", "migration", "revision"),
        pending=waiting.revision if waiting else None,
        pending_state=waiting.state if waiting else None,
        worked_on_by=holder,
        colour=serves.colour if serves else None,
        idle=serves.idle if serves else None,
        both_work=bool(serves and serves.both_work),
    )


def _revision(namespace: str, labels: Mapping[str, str]) -> Revision:
    """What the labels of Helm's own record say of a revision."""
    return Revision(RELEASE, namespace, int(labels["version"]), labels["status"], "", "", "")


def _release(kube: Kube, revision: int) -> Mapping[str, Any]:
    """What Helm keeps of a release: JSON, packed, in base64."""
    held = kube.secret(f"sh.helm.release.v1.{RELEASE}.v{revision}").get("release", "")
    return dict(json.loads(gzip.decompress(base64.b64decode(held)))) if held else {}


def _at(document: Mapping[str, Any], *keys: str) -> str | None:
    found: Any = document
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    return None if found is None else str(found)


def _outside(values: Values) -> list[Any]:
    """What looks at the database and the broker where they are not in the cluster."""
    cluster = cluster_values(values)
    looks = [] if cluster.postgresql.development.enabled else [_database]
    return looks + ([] if cluster.kafka.strimzi.enabled else [_broker])


def _database(_values: Values, there: Platform) -> PartStatus:
    address, found, why = "", None, ""
    try:
        url = there.database_url(OPERATOR_ROLE)
        address = url.rpartition("@")[2].partition("/")[0]
        found = postgres.version(url)
    except TodoctlError as error:
        why = error.message
    return _server("postgres", "database", address, found, why)


def _broker(values: Values, there: Platform) -> PartStatus:
    address, why = cluster_values(values).kafka.brokers, ""
    try:
        broker = there.broker()
        address = broker.addresses
        client.cluster_id(broker)
    except TodoctlError as error:
        why = error.message
    return _server("kafka", "broker", address, None, why)


def _server(name: str, kind: Kind, address: str, found: str | None, why: str) -> PartStatus:
    state = "unhealthy" if why else "ready"
    return PartStatus(name, kind, not why, state, why, found, address, None, None, None, 0)


def _word(seen: list[Object], place: Place) -> str:
    if not seen:
        return "stopped"
    created = max(datetime.fromisoformat(str(pod["metadata"]["creationTimestamp"])) for pod in seen)
    is_young = (datetime.now(UTC) - created).total_seconds() < _YOUNG
    crashed = any(int(state_of(pod, place).get("restartCount", 0)) for pod in seen)
    return "starting" if is_young and not crashed else "unhealthy"


def _detail(seen: list[Object], complaints: Mapping[str, str], place: Place) -> str:
    if not seen:
        return "no pod runs"
    ready = len(seen) - len(complaints)
    words = [f"{pod} {why}" for pod, why in sorted(complaints.items())]
    if ready < max(place.wanted, 1) or complaints:
        words.insert(0, f"{ready} of {max(place.wanted, len(seen))} pods ready")
    return "; ".join(words)
