"""What is observed of the environment: every part's health, lag of the groups, age of the outbox."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from todoctl import __version__
from todoctl.adapters import postgres, sidecar
from todoctl.adapters.kafka import groups
from todoctl.adapters.processes import identity, supervisor
from todoctl.core.dapr import local_group
from todoctl.core.parts import OPERATOR_ROLE, Part
from todoctl.core.ports import LOOPBACK
from todoctl.core.values import Subscription, Values
from todoctl.errors import TodoctlError
from todoctl.operations.local import readiness, running
from todoctl.operations.local.running import RunningRelease
from todoctl.operations.local.state import State
from todoctl.settings import Settings


@dataclass(frozen=True)
class PartStatus:
    """A part as observed; `state` is ready, starting, stopped or unhealthy, `detail` says what is missing."""

    name: str
    kind: str
    healthy: bool
    state: str
    detail: str
    version: str | None
    address: str
    pid: int | None
    uptime_seconds: float | None
    memory_bytes: int | None
    early_deaths: int


@dataclass(frozen=True)
class GroupLag:
    """How many messages of a topic a group has not processed; None where that can't be told."""

    group: str
    topic: str
    messages: int | None
    detail: str


@dataclass(frozen=True)
class Outbox:
    """Entries that wait to be published, and the age of the oldest in seconds; None where that can't be told."""

    entries: int | None
    oldest_age_seconds: float | None
    detail: str


@dataclass(frozen=True)
class Status:
    """The environment as observed."""

    environment: str
    healthy: bool
    release: RunningRelease
    parts: tuple[PartStatus, ...]
    lag: tuple[GroupLag, ...]
    outbox: Outbox

    def document(self) -> dict[str, Any]:
        """The status as JSON has it."""
        return asdict(self)


def observe(
    settings: Settings, values: Values, state: State, parts: dict[str, Part], versions: dict[str, str]
) -> Status:
    """Look at everything at once; what can't be looked at is not healthy."""
    with supervisor.connect(state.folders) as control:
        try:
            processes = control.processes()
        except TodoctlError:
            processes = {}
    with ThreadPoolExecutor(max_workers=16) as pool:
        looks = [
            pool.submit(
                _part, state, part, processes.get(part.name), readiness.check_for(part, values, state), versions
            )
            for part in parts.values()
        ]
        lags = [pool.submit(_lag, values, state, app) for app, service in values.services.items() if service.subscribes]
        box = pool.submit(_outbox, state)
        seen = tuple(look.result() for look in looks)
        lag = tuple(row for future in lags for row in future.result())
        outbox = box.result()
    healthy = all(part.healthy for part in seen)
    return Status(settings.name, healthy, running.observed(settings), seen, lag, outbox)


def _part(
    state: State, part: Part, process: supervisor.Process | None, check: readiness.Check, versions: dict[str, str]
) -> PartStatus:
    pid, missing = (
        readiness.observe(state, part, _with_service(state, part, check)) if process else (None, "is not running")
    )
    usage = identity.usage(pid) if pid else None
    return PartStatus(
        name=part.name,
        kind=part.kind,
        healthy=missing is None,
        state=_word(pid, missing, usage),
        detail=missing or "",
        version=_observed_version(state, part) or versions.get(part.name),
        address=f"{LOOPBACK}:{part.port}",
        pid=pid,
        uptime_seconds=round(time.time() - usage.started_at, 1) if usage else None,
        memory_bytes=usage.memory_bytes if usage else None,
        early_deaths=identity.early_deaths(state.folders.run / f"{part.name}.json"),
    )


def _observed_version(state: State, part: Part) -> str | None:
    """What the running part says; None where it says nothing, then the program that it was started from tells."""
    if part.kind in {"service", "mail"}:
        return __version__
    return sidecar.runtime_version(part.port, state.secrets.dapr_token) if part.kind == "sidecar" else None


def _with_service(state: State, part: Part, check: readiness.Check) -> Callable[[], str | None]:
    """A service is healthy when it says that it can work, not only that it lives."""
    if part.kind != "service":
        return check
    return lambda: check() or readiness.service_is_ready(state, part.name)


def _word(pid: int | None, missing: str | None, usage: identity.Usage | None) -> str:
    if missing is None:
        return "ready"
    if pid is None:
        return "stopped"
    return "starting" if usage and time.time() - usage.started_at < 10 else "unhealthy"


def _lag(values: Values, state: State, app: str) -> list[GroupLag]:
    per_group: dict[str, list[Subscription]] = {}
    for item in values.services[app].subscribes:
        per_group.setdefault(local_group(app, item), []).append(item)
    return [row for group, items in per_group.items() for row in _group_lag(values, state, group, items)]


def _group_lag(values: Values, state: State, group: str, items: list[Subscription]) -> list[GroupLag]:
    wanted = {item.topic: values.topics[item.topic].partitions for item in items}
    try:
        rows = groups.lag(readiness.broker(state), group, wanted)
    except TodoctlError as error:
        return [GroupLag(group, topic, None, error.message) for topic in wanted]
    return [_sum(group, item, [row for row in rows if row.topic == item.topic]) for item in items]


def _sum(group: str, item: Subscription, rows: list[groups.Lag]) -> GroupLag:
    """A partition that was never committed counts what is in it, where the group starts at the oldest record."""
    if item.every_replica:
        return GroupLag(group, item.topic, sum(row.messages or 0 for row in rows), "")
    messages = sum(row.end - row.start if row.messages is None else row.messages for row in rows)
    never = sum(1 for row in rows if row.committed is None and row.end > row.start)
    return GroupLag(group, item.topic, messages, f"{never} partitions never committed" if never else "")


def _outbox(state: State) -> Outbox:
    try:
        entries, age = postgres.outbox(state.secrets.database_url(OPERATOR_ROLE, state.ports["postgres"]))
    except TodoctlError as error:
        return Outbox(None, None, error.message)
    return Outbox(entries, round(age, 1), "")
