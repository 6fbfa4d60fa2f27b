"""Checks of the environment on this machine; each says what it saw and the command that fixes it."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Literal

from todoctl.adapters import migrations, postgres
from todoctl.adapters.api import Api
from todoctl.adapters.kafka import groups, topics
from todoctl.adapters.processes import identity, supervisor
from todoctl.core.dapr import local_group
from todoctl.core.parts import OPERATOR_ROLE, OWNER_ROLE, Part, sidecar_name
from todoctl.core.ports import default_ports
from todoctl.core.topics import differences, wanted_topics
from todoctl.core.values import Subscription, Values
from todoctl.errors import TodoctlError
from todoctl.operations import tools
from todoctl.operations.local import operator, probe, readiness, state
from todoctl.operations.local.up import Up
from todoctl.settings import Settings

Verdict = Literal["ok", "warn", "fail"]

_LONG_OUTBOX = 30.0  # seconds that an entry may wait before somebody should look
_CLOCK_SLACK = 1.0  # seconds
_MIB = 2**20


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


def examine(up: Up) -> Iterator[Finding]:
    """Run all checks side by side; yields in a fixed order."""
    with ThreadPoolExecutor(max_workers=8) as pool:
        for future in [pool.submit(check.run) for check in _checks(up)]:
            yield future.result()


def examine_machine(settings: Settings, values: Values, environ: Mapping[str, str]) -> Iterator[Finding]:
    """The checks that need no platform: tools, Python, disk, and whether the ports asked for first are free."""
    for name in tools.names():
        yield Check(f"tool {name}", partial(_tool, settings.cache, environ, name), "todoctl tools install").run()
    yield _python()
    yield Check("disk", partial(_disk, existing(settings.state))).run()
    wanted = default_ports(values)
    taken = identity.listeners(set(wanted.values()))
    for name, port in wanted.items():
        if port in taken:
            seen = f"{port} is taken by {identity.name_of(taken[port])}"
            yield Finding(f"port {name}", "warn", seen, "nothing: todoctl up takes the next free one")
    yield Finding("platform", "fail", f"the environment {settings.name!r} is not up", "todoctl up")


def existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return next(path for path in (folder, *folder.parents) if path.exists())


def mend(up: Up, finding: Finding) -> str:
    """Do what is safe for a finding: make missing topics, set topic settings; gives what was done."""
    broker = readiness.broker(up.state)
    name = finding.check.removeprefix("topic ")
    wanted = next(topic for topic in wanted_topics(up.values) if topic.name == name)
    present = topics.specs(broker, [name])
    if not present:
        topics.create(broker, [topics.TopicSpec(name, wanted.partitions, wanted.replication, wanted.config)])
        return f"created {name}"
    topics.set_config(broker, name, wanted.config)
    return f"set {', '.join(f'{key}={value}' for key, value in wanted.config.items())}"


def _checks(up: Up) -> list[Check]:
    look = partial(_tool, up.settings.cache, up.assembly.environ)
    checks = [Check(f"tool {name}", partial(look, name), "todoctl tools install") for name in tools.names()]
    checks += [
        Check("python", _python),
        Check("disk", partial(_disk, up.state.folders.root)),
        Check("supervisor", lambda: _supervisor(up)),
    ]
    checks += [Check(f"part {part.name}", _part_check(up, part)) for part in up.assembly.parts.values()]
    checks += [Check(f"topic {topic.name}", _topic_check(up, topic.name)) for topic in wanted_topics(up.values)]
    for app, service in up.values.services.items():
        for item in service.subscribes:
            checks.append(Check(f"subscription {app} {item.topic}", _subscription_check(up, app, item)))
    checks += [
        Check("schema", lambda: _schema(up), "todoctl db migrate"),
        Check("outbox", lambda: _outbox(up)),
        Check("operator", lambda: _operator(up), "todoctl logs auth audit"),
        Check("clock", lambda: _clock(up)),
    ]
    return checks


def _tool(cache: Path, environ: Mapping[str, str], name: str) -> Finding:
    found = tools.find(name, cache, environ=environ)
    if found is None:
        verdict: Verdict = "warn" if name in tools.OPTIONAL else "fail"
        return Finding(f"tool {name}", verdict, "not found", f"todoctl tools install {name}")
    known = _KNOWN_FAULTS.get((name, found.version))
    if known:
        return Finding(f"tool {name}", "warn", f"{found.version} from {found.source}: {known}")
    return Finding(f"tool {name}", "ok", f"{found.version} from {found.source}")


_KNOWN_FAULTS = {
    ("daprd", "1.16.0"): "a raw CloudEvent with a trace field that is not text would crash it (mended in 1.18.3); "
    "our subscriptions take raw payloads, which it does not read",
    (
        "scheduler",
        "1.16.0",
    ): "may stop firing after a restart of another scheduler (mended in 1.16.13); only one runs here",
}


def _python() -> Finding:
    # An older Python does not get this far: the package refuses to be installed there.
    return Finding("python", "ok", ".".join(str(number) for number in sys.version_info[:3]))


def _disk(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free
    verdict: Verdict = "ok" if free > 2048 * _MIB else "warn" if free > 512 * _MIB else "fail"
    return Finding(
        "disk", verdict, f"{free // _MIB} MiB free in {folder}", "" if verdict == "ok" else "free some space"
    )


def _supervisor(up: Up) -> Finding:
    with supervisor.connect(up.state.folders) as control:
        alive = control.is_alive()
    return Finding(
        "supervisor", "ok" if alive else "fail", "answers" if alive else "does not run", "" if alive else "todoctl up"
    )


def _part_check(up: Up, part: Part) -> Callable[[], Finding]:
    def look() -> Finding:
        pid, missing = readiness.observe(up.state, part, readiness.check_for(part, up.values, up.state))
        if missing:
            fix = f"todoctl logs {part.name}; todoctl up"
            if "taken by" in missing:
                fix = "todoctl down && todoctl up"
            return Finding(f"part {part.name}", "fail", missing, fix)
        deaths = identity.early_deaths(up.state.folders.run / f"{part.name}.json")
        seen = f"pid {pid} owns port {part.port} and answers"
        if deaths:
            return Finding(
                f"part {part.name}", "warn", f"{seen}; died {deaths} times in a row before", f"todoctl logs {part.name}"
            )
        return Finding(f"part {part.name}", "ok", seen)

    return look


def _topic_check(up: Up, name: str) -> Callable[[], Finding]:
    def look() -> Finding:
        check = f"topic {name}"
        wanted = next(topic for topic in wanted_topics(up.values) if topic.name == name)
        there = topics.specs(readiness.broker(up.state), [name]).get(name)
        if there is None:
            return Finding(check, "fail", "is missing", "todoctl doctor --fix", is_safe_to_fix=True)
        unlike = differences(wanted, there.partitions, there.replication, there.config)
        if not unlike:
            return Finding(check, "ok", f"{there.partitions} partitions, settings as in the chart")
        seen = ", ".join(f"{key} is {have or 'unset'}, the chart says {want}" for key, (want, have) in unlike.items())
        is_safe = not {"partitions", "replication"} & set(unlike)
        fix = "todoctl doctor --fix" if is_safe else "change the chart, or plan the change of the topic"
        return Finding(check, "fail", seen, fix, is_safe_to_fix=is_safe)

    return look


def _subscription_check(up: Up, app: str, item: Subscription) -> Callable[[], Finding]:
    name, topic = local_group(app, item), item.topic

    def look() -> Finding:
        check, fix = f"subscription {app} {topic}", f"todoctl logs {app}; todoctl restart {app}"
        broker = readiness.broker(up.state)
        group = groups.group(broker, name)
        held = len(group.assigned.get(topic, ()))
        if not held:
            return Finding(
                check, "fail", f"group {name} is {group.state.lower()} and holds no partition of {topic}", fix
            )
        seconds = probe.round_trip(broker, name, topic, seconds=10, now=datetime.now(UTC))
        if seconds is None:
            return Finding(check, "fail", "a probe record was not consumed within 10 s", fix)
        return Finding(
            check,
            "ok",
            f"a probe record was consumed after {seconds:.2f} s; {group.members} member holds {held} partitions",
        )

    return look


def _schema(up: Up) -> Finding:
    url = up.state.secrets.database_url(OWNER_ROLE, up.state.ports["postgres"])
    status = migrations.run(up.assembly.python, up.assembly.code_environ, url, "status", seconds=20)
    if status["pending"]:
        return Finding(
            "schema", "fail", f"at {status['current']}, {len(status['pending'])} pending", "todoctl db migrate"
        )
    newest = "the newest" if status["current"] == status["head"] else f"what runs needs {status['head']}"
    return Finding("schema", "ok", f"at {status['current']}, {newest}")


def _outbox(up: Up) -> Finding:
    entries, age = postgres.outbox(up.state.secrets.database_url(OPERATOR_ROLE, up.state.ports["postgres"]))
    if age > _LONG_OUTBOX:
        return Finding(
            "outbox",
            "fail",
            f"{entries} entries, the oldest waits for {age:.0f} s",
            f"todoctl logs api {sidecar_name('api')} kafka",
        )
    return Finding("outbox", "ok", f"{entries} entries, the oldest waits for {age:.1f} s")


def _operator(up: Up) -> Finding:
    """Whether todoctl's own account gets a token that audit takes for an operator's."""
    with Api(state.addresses(up.state)) as api:
        account = operator.log_in(api, up.state)
        rows = api.audit_logs()
    if not rows:
        return Finding("operator", "fail", f"{account} logs in and sees no audit rows", "todoctl smoke")
    users = len({row["user_id"] for row in rows})
    return Finding("operator", "ok", f"{account} logs in and sees audit rows of {users} users")


def _clock(up: Up) -> Finding:
    before = time.time()
    there = postgres.clock(up.state.secrets.database_url(OPERATOR_ROLE, up.state.ports["postgres"]))
    after = time.time()
    skew = max(before - there, there - after, 0.0)
    verdict: Verdict = "ok" if skew < _CLOCK_SLACK else "fail"
    return Finding(
        "clock",
        verdict,
        f"the database's clock differs by {skew:.3f} s",
        "" if verdict == "ok" else "set this machine's clock",
    )
