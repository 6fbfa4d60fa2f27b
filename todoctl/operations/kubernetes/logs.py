"""Logs of the pods of a platform, merged in time order."""

from __future__ import annotations

import heapq
import queue
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from todoctl.adapters.kube.answers import KubeError
from todoctl.adapters.kube.api import Kube, Object
from todoctl.core.logs import LogFilter, LogLine, parse_lines
from todoctl.errors import TodoctlError
from todoctl.operations.kubernetes.pods import Place, Pods, container

_LOOK = 3.0  # seconds after which pods are looked for again while logs are followed
_QUIET = 0.2  # seconds of silence after which what came is told
_MOST = 5_000  # lines that are told at once
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Source:
    """One container of one pod."""

    part: str
    namespace: str
    pod: str
    container: str


Came = queue.Queue[tuple[Source, "LogLine | TodoctlError | None"]]


def read(kube: Kube, found: Sequence[Place], wanted: LogFilter, *, follow: bool = False) -> Iterator[LogLine]:
    """What the pods' logs hold now, each in its own order; with `follow` what is added later too, in new pods as well."""
    if follow:
        yield from (line for line in _followed(kube, found, wanted) if wanted.wants(line))
        return
    streams = [_lines(kube, source, wanted, follow=False) for source in _sources(Pods(kube), found)]
    yield from (line for line in heapq.merge(*streams, key=lambda line: line.time) if wanted.wants(line))


def _sources(pods: Pods, found: Iterable[Place]) -> list[Source]:
    return [
        Source(place.name, place.namespace, str(pod["metadata"]["name"]), container(pod, place))
        for place in found
        for pod in pods.of(place)
        if _has(pod, container(pod, place))
    ]


def _has(pod: Object, name: str) -> bool:
    return name in {item["name"] for item in pod["spec"]["containers"]}


def _lines(kube: Kube, source: Source, wanted: LogFilter, *, follow: bool) -> Iterator[LogLine]:
    """A container's lines; times never run backwards. One that has not started yet has none."""
    last = _EPOCH
    lines = kube.logs(source.pod, source.container, since=wanted.since, follow=follow, namespace=source.namespace)
    try:
        for line in parse_lines(source.part, lines, start=wanted.since or _EPOCH):
            last = max(last, line.time)
            yield replace(line, time=last, instance=source.pod)
    except KubeError as error:
        # 400: it waits to start; 404: the pod is gone since.
        if error.status not in {400, 404}:
            raise


def _followed(kube: Kube, found: Sequence[Place], wanted: LogFilter) -> Iterator[LogLine]:
    """Lines as they come, in batches by time; pods that come later, and containers that start anew, are followed too."""
    came: Came = queue.Queue(maxsize=10_000)
    open_now: set[Source] = set()
    last: dict[Source, datetime] = {}
    while True:
        for source in set(_sources(Pods(kube), found)) - open_now:
            open_now.add(source)
            since = replace(wanted, since=last.get(source, wanted.since))
            # A daemon thread: an interrupted command must not wait for a log to end.
            threading.Thread(target=_pump, args=(kube, source, since, last.get(source), came), daemon=True).start()
        looked = time.monotonic()
        while time.monotonic() - looked < _LOOK:
            batch = _batch(came)
            open_now -= {source for source, item in batch if item is None}
            lines = [(source, item) for source, item in batch if isinstance(item, LogLine)]
            last |= {source: line.time for source, line in lines}
            yield from sorted((line for _, line in lines), key=lambda line: line.time)
            for _, item in batch:
                if isinstance(item, TodoctlError):
                    raise item


def _batch(came: Came) -> list[tuple[Source, LogLine | TodoctlError | None]]:
    """What came until it is quiet for a moment."""
    found: list[tuple[Source, LogLine | TodoctlError | None]] = []
    try:
        found.append(came.get(timeout=_LOOK))
        while len(found) < _MOST:
            found.append(came.get(timeout=_QUIET))
    except queue.Empty:
        pass
    return found


def _pump(kube: Kube, source: Source, wanted: LogFilter, after: datetime | None, came: Came) -> None:
    """Hand a container's lines over, those after a moment; then None, or why they could not be had."""
    try:
        for line in _lines(kube, source, wanted, follow=True):
            if after is None or line.time > after:
                came.put((source, line))
        came.put((source, None))
    except TodoctlError as error:
        came.put((source, error))
