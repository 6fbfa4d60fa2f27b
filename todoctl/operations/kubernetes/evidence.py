"""What is kept of a release that failed in a cluster, before anything is undone: logs, events, states, lag, versions; no secrets."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from todoctl.adapters.kube.api import Kube, Object
from todoctl.adapters.kube.kinds import DEPLOYMENTS, EVENTS, JOBS, PODS, REPLICA_SETS, SERVICES, STATEFUL_SETS
from todoctl.core.cluster_values import Cluster
from todoctl.core.release_diff import MASK
from todoctl.core.releases import Release
from todoctl.errors import TodoctlError
from todoctl.operations.kubernetes import strimzi
from todoctl.operations.kubernetes.foreseen import secrets

_LINES = 1000  # of each log
_DESCRIBED = {
    "pods": PODS,
    "deployments": DEPLOYMENTS,
    "statefulsets": STATEFUL_SETS,
    "replicasets": REPLICA_SETS,
    "jobs": JOBS,
    "services": SERVICES,
}
# Keys of our Secrets that say where something is, not how to get in.
_OPEN = {"host", "port", "sender", "tls", "username", "connections", "ca.crt"}


def collect(
    folder: Path,
    kube: Kube,
    cluster: Cluster,
    release: Release,
    told: Mapping[str, Callable[[], Any]],
    error: BaseException,
) -> Path:
    """Write the evidence into a folder of its own below `folder` and give it; what can't be told is written down as that.

    `told` are more documents: file name → what gives its content.
    """
    home = folder / f"{release.revision}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    home.mkdir(parents=True, mode=0o700, exist_ok=True)
    hidden = secret_values(kube, cluster)
    for name, text in _documents(kube, cluster, release, told, error):
        (home / name).write_text(redacted(text, hidden), encoding="utf-8")
    return home


def secret_values(kube: Kube, cluster: Cluster) -> list[str]:
    """Everything in the platform's Secrets that lets somebody in, the longest first."""
    found: set[str] = set()
    for name, secret in secrets(cluster).items():
        held = dict(secret.values)
        with suppress(TodoctlError):
            held |= kube.secret(name)
        for key, value in held.items():
            if key not in _OPEN:
                found |= {value, urlsplit(value).password or ""} if "://" in value else {value}
    return sorted(found - {""}, key=len, reverse=True)


def redacted(text: str, hidden: list[str]) -> str:
    """The text without them."""
    for secret in hidden:
        text = text.replace(secret, MASK)
    return text


def _documents(
    kube: Kube, cluster: Cluster, release: Release, told: Mapping[str, Callable[[], Any]], error: BaseException
) -> Iterator[tuple[str, str]]:
    words = [f"{type(error).__name__}: {error}", *getattr(error, "detail", ())]
    yield "error.txt", "\n".join(words) + "\n"
    yield "release.json", release.model_dump_json(indent=2)
    for name, tell in told.items():
        yield name, _told(lambda tell=tell: json.dumps(tell(), indent=2, default=str))  # type: ignore[misc]
    for name, kind in _DESCRIBED.items():
        yield f"{name}.yaml", _told(lambda kind=kind: _described(kube.items(kind)))  # type: ignore[misc]
    if (kafka := cluster.kafka.strimzi).enabled:
        yield "strimzi.yaml", _told(lambda: _described(strimzi.of_cluster(kube, kafka)))
    yield "events.txt", _told(lambda: _events(kube.items(EVENTS)))
    yield from _logs(kube)


def _described(items: list[Object]) -> str:
    for item in items:
        item["metadata"].pop("managedFields", None)
    return yaml.safe_dump(items, sort_keys=False)


def _events(items: list[Object]) -> str:
    lines = []
    for item in sorted(items, key=_when):
        about = item["involvedObject"]
        count = int(item.get("count") or 1)
        lines.append(
            f"{_when(item)} {item.get('type', '')} {about['kind']}/{about['name']} {item.get('reason', '')} x{count}: "
            f"{item.get('message', '')}"
        )
    return "\n".join(lines) + "\n"


def _when(item: Object) -> str:
    return str(item.get("lastTimestamp") or item.get("eventTime") or item["metadata"]["creationTimestamp"])


def _logs(kube: Kube) -> Iterator[tuple[str, str]]:
    try:
        pods = kube.items(PODS)
    except TodoctlError as error:
        yield "logs.txt", f"could not be told: {error}\n"
        return
    for pod in pods:
        name, status = str(pod["metadata"]["name"]), pod.get("status", {})
        for item in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
            container = str(item["name"])
            if not (item.get("state") or {}).get("waiting") or item.get("restartCount"):
                yield f"{name}.{container}.log", _told(lambda n=name, c=container: _log(kube, n, c))  # type: ignore[misc]
            if item.get("restartCount"):
                yield (
                    f"{name}.{container}.before.log",
                    _told(lambda n=name, c=container: _log(kube, n, c, previous=True)),  # type: ignore[misc]
                )


def _log(kube: Kube, pod: str, container: str, *, previous: bool = False) -> str:
    return "\n".join(kube.logs(pod, container, tail=_LINES, previous=previous)) + "\n"


def _told(tell: Callable[[], str]) -> str:
    try:
        return tell()
    except (TodoctlError, OSError) as error:
        return f"could not be told: {error}\n"
