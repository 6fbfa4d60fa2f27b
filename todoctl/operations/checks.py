"""Checks of a platform, wherever it runs: each says what it saw and the command that fixes it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal

from todoctl.adapters import postgres
from todoctl.adapters.kafka import groups, topics
from todoctl.adapters.kafka.client import Broker
from todoctl.core.topics import differences, wanted_topics
from todoctl.core.values import Values
from todoctl.errors import TodoctlError
from todoctl.operations.kafka import probe

Verdict = Literal["ok", "warn", "fail"]

_LONG_OUTBOX = 30.0  # seconds that an entry may wait before somebody should look
_CLOCK_SLACK = 1.0  # seconds


@dataclass(frozen=True)
class Finding:
    """One check's verdict: what was seen, and the command that fixes it where something is wrong."""

    check: str
    verdict: Verdict
    seen: str
    fix: str = ""
    is_safe_to_fix: bool = False


@dataclass(frozen=True)
class Check:
    """A check by name; a `look` that raises has failed."""

    name: str
    look: Callable[[], Finding]
    fix: str = "todoctl up"

    def run(self) -> Finding:
        """The finding; a check that could not look has failed."""
        try:
            return self.look()
        except (TodoctlError, OSError) as error:
            return Finding(self.name, "fail", f"could not look: {error}", self.fix)


@dataclass(frozen=True)
class Stores:
    """Where a platform's broker and database are; each call raises a TodoctlError where that can't be told.

    `schema` gives what `db status` does.
    """

    values: Values
    broker: Callable[[], Broker]
    database: Callable[[], str]
    schema: Callable[[], dict[str, Any]]


def run_all(checks: Iterable[Check]) -> Iterator[Finding]:
    """Run all checks side by side; yields in their order."""
    with ThreadPoolExecutor(max_workers=8) as pool:
        for future in [pool.submit(check.run) for check in checks]:
            yield future.result()


def store_checks(stores: Stores, *, outbox_fix: str, fix: str) -> list[Check]:
    """Those of the database and of what waits in it; `fix` is for a check that could not look."""
    return [
        Check("schema", partial(_schema, stores), "todoctl db migrate"),
        Check("outbox", partial(_outbox, stores, outbox_fix), fix),
        Check("clock", partial(_clock, stores), fix),
    ]


def topic_checks(stores: Stores, *, fix: str) -> list[Check]:
    """One for each topic of the values."""
    names = [topic.name for topic in wanted_topics(stores.values)]
    return [Check(f"topic {name}", partial(_topic, stores, name), fix) for name in names]


def subscription(stores: Stores, app: str, topic: str, group: str, *, fix: str) -> Check:
    """Whether a record on the topic reaches the group."""
    return Check(f"subscription {app} {topic}", partial(_subscription, stores, app, topic, group), fix)


def mend(stores: Stores, finding: Finding) -> str:
    """Do what is safe for a finding: make missing topics, set topic settings; gives what was done."""
    broker = stores.broker()
    name = finding.check.removeprefix("topic ")
    wanted = next(topic for topic in wanted_topics(stores.values) if topic.name == name)
    present = topics.specs(broker, [name])
    if not present:
        topics.create(broker, [topics.TopicSpec(name, wanted.partitions, wanted.replication, wanted.config)])
        return f"created {name}"
    topics.set_config(broker, name, wanted.config)
    return f"set {', '.join(f'{key}={value}' for key, value in wanted.config.items())}"


def _topic(stores: Stores, name: str) -> Finding:
    check = f"topic {name}"
    wanted = next(topic for topic in wanted_topics(stores.values) if topic.name == name)
    there = topics.specs(stores.broker(), [name]).get(name)
    if there is None:
        return Finding(check, "fail", "is missing", "todoctl doctor --fix", is_safe_to_fix=True)
    unlike = differences(wanted, there.partitions, there.replication, there.config)
    if not unlike:
        return Finding(check, "ok", f"{there.partitions} partitions, settings as in the chart")
    seen = ", ".join(f"{key} is {have or 'unset'}, the chart says {want}" for key, (want, have) in unlike.items())
    is_safe = not {"partitions", "replication"} & set(unlike)
    fix = "todoctl doctor --fix" if is_safe else "change the chart, or plan the change of the topic"
    return Finding(check, "fail", seen, fix, is_safe_to_fix=is_safe)


def _subscription(stores: Stores, app: str, topic: str, name: str) -> Finding:
    check, fix = f"subscription {app} {topic}", f"todoctl logs {app}; todoctl restart {app}"
    broker = stores.broker()
    group = groups.group(broker, name)
    held = len(group.assigned.get(topic, ()))
    if not held:
        return Finding(check, "fail", f"group {name} is {group.state.lower()} and holds no partition of {topic}", fix)
    seconds = probe.round_trip(broker, name, topic, seconds=10, now=datetime.now(UTC))
    if seconds is None:
        return Finding(check, "fail", "a probe record was not consumed within 10 s", fix)
    members = f"{group.members} member holds" if group.members == 1 else f"{group.members} members hold"
    return Finding(check, "ok", f"a probe record was consumed after {seconds:.2f} s; {members} {held} partitions")


def _schema(stores: Stores) -> Finding:
    status = stores.schema()
    if status["pending"]:
        return Finding(
            "schema", "fail", f"at {status['current']}, {len(status['pending'])} pending", "todoctl db migrate"
        )
    newest = "the newest" if status["current"] == status["head"] else f"what runs needs {status['head']}"
    return Finding("schema", "ok", f"at {status['current']}, {newest}")


def _outbox(stores: Stores, fix: str) -> Finding:
    entries, age = postgres.outbox(stores.database())
    if age > _LONG_OUTBOX:
        return Finding("outbox", "fail", f"{entries} entries, the oldest waits for {age:.0f} s", fix)
    return Finding("outbox", "ok", f"{entries} entries, the oldest waits for {age:.1f} s")


def _clock(stores: Stores) -> Finding:
    url = stores.database()
    before = time.time()
    there = postgres.clock(url)
    after = time.time()
    skew = max(before - there, there - after, 0.0)
    verdict: Verdict = "ok" if skew < _CLOCK_SLACK else "fail"
    return Finding(
        "clock",
        verdict,
        f"the database's clock differs by {skew:.3f} s",
        "" if verdict == "ok" else "set this machine's clock",
    )
