"""What `status` tells of a platform, wherever it runs, and the part of it that is seen the same way everywhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from todoctl.adapters import postgres
from todoctl.adapters.kafka import groups
from todoctl.adapters.kafka.client import Broker
from todoctl.core.dapr import group_of
from todoctl.core.values import Subscription, Values
from todoctl.errors import TodoctlError


@dataclass(frozen=True)
class RunningRelease:
    """What runs: a release, or the checkout (revision None); and one that is pending, with who works on it now.

    In a cluster also the colour that Services lead to, and the one that is idle beside it; a switch between them that was
    killed leaves both at work.
    """

    revision: int | None
    app_version: str | None
    schema_revision: str | None
    pending: int | None
    pending_state: str | None
    worked_on_by: str | None
    colour: str | None = None
    idle: str | None = None
    both_work: bool = False


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


def lag(values: Values, app: str, replicas: Sequence[str], broker: Callable[[], Broker]) -> list[GroupLag]:
    """The lag of every group that reads for an app; `replicas` are those that read for themselves where they do."""
    per_group: dict[str, list[Subscription]] = {}
    for item in values.services[app].subscribes:
        for replica in replicas if item.every_replica else ("",):
            per_group.setdefault(group_of(app, item, replica), []).append(item)
    return [row for group, items in per_group.items() for row in _group_lag(values, broker, group, items)]


def _group_lag(
    values: Values, broker: Callable[[], Broker], group: str, items: Sequence[Subscription]
) -> list[GroupLag]:
    wanted = {item.topic: values.topics[item.topic].partitions for item in items}
    try:
        rows = groups.lag(broker(), group, wanted)
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


def outbox(database: Callable[[], str]) -> Outbox:
    """The outbox of the database that the operator's URL leads to."""
    try:
        entries, age = postgres.outbox(database())
    except TodoctlError as error:
        return Outbox(None, None, error.message)
    return Outbox(entries, round(age, 1), "")
