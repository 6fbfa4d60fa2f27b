"""Checks of the environment on this machine; each says what it saw and the command that fixes it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from todoctl.adapters import migrations
from todoctl.adapters.api import Api
from todoctl.adapters.processes import identity, supervisor
from todoctl.core.dapr import local_group
from todoctl.core.parts import OPERATOR_ROLE, OWNER_ROLE, Part, sidecar_name
from todoctl.core.ports import default_ports
from todoctl.core.values import Values
from todoctl.operations import tools
from todoctl.operations.checks import (
    Check,
    Finding,
    Stores,
    Verdict,
    store_checks,
    subscription,
    topic_checks,
)
from todoctl.operations.checks import mend as mend_topic
from todoctl.operations.local import operator, readiness, state
from todoctl.operations.local.up import Up
from todoctl.settings import Settings

_MIB = 2**20


def stores(up: Up) -> Stores:
    """Where the environment's broker and database are."""
    secrets, port = up.state.secrets, up.state.ports["postgres"]
    owner, code = secrets.database_url(OWNER_ROLE, port), up.assembly.code_environ
    return Stores(
        values=up.values,
        broker=lambda: readiness.broker(up.state),
        database=lambda: secrets.database_url(OPERATOR_ROLE, port),
        schema=lambda: migrations.run(up.assembly.python, code, owner, "status", seconds=20),
    )


def mend(up: Up, finding: Finding) -> str:
    """Do what is safe for a finding; gives what was done."""
    return mend_topic(stores(up), finding)


def machine_checks(settings: Settings, values: Values, environ: Mapping[str, str]) -> list[Check]:
    """The checks that need no platform: tools, Python, disk, and whether the ports asked for first are free."""
    found = [
        Check(f"tool {name}", partial(_tool, settings.cache, environ, name), "todoctl tools install")
        for name in tools.names()
    ]
    found += [Check("python", _python), Check("disk", partial(_disk, existing(settings.state)))]
    wanted = default_ports(values)
    taken = identity.listeners(set(wanted.values()))
    found += [
        Check(f"port {name}", partial(_taken_port, name, port, taken[port]))
        for name, port in wanted.items()
        if port in taken
    ]
    return [*found, Check("platform", partial(_never_up, settings.name))]


def existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return next(path for path in (folder, *folder.parents) if path.exists())


def checks(up: Up) -> list[Check]:
    """Everything that can be wrong with the environment."""
    look = partial(_tool, up.settings.cache, up.assembly.environ)
    found = [Check(f"tool {name}", partial(look, name), "todoctl tools install") for name in tools.names()]
    found += [
        Check("python", _python),
        Check("disk", partial(_disk, up.state.folders.root)),
        Check("supervisor", lambda: _supervisor(up)),
    ]
    found += [Check(f"part {part.name}", _part_check(up, part)) for part in up.assembly.parts.values()]
    kept = stores(up)
    found += topic_checks(kept, fix="todoctl up")
    for app, service in up.values.services.items():
        for item in service.subscribes:
            found.append(subscription(kept, app, item.topic, local_group(app, item), fix="todoctl up"))
    logs = f"todoctl logs api {sidecar_name('api')} kafka"
    schema, outbox, clock = store_checks(kept, outbox_fix=logs, fix="todoctl up")
    found += [schema, outbox, Check("operator", lambda: _operator(up), "todoctl logs auth audit"), clock]
    return found


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


def _taken_port(name: str, port: int, pid: int | None) -> Finding:
    seen = f"{port} is taken by {identity.name_of(pid)}"
    return Finding(f"port {name}", "warn", seen, "nothing: todoctl up takes the next free one")


def _never_up(name: str) -> Finding:
    return Finding("platform", "fail", f"the environment {name!r} is not up", "todoctl up")


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


def _operator(up: Up) -> Finding:
    """Whether todoctl's own account gets a token that audit takes for an operator's."""
    with Api(state.addresses(up.state)) as api:
        account = operator.log_in(api, up.state)
        rows = api.audit_logs()
    if not rows:
        return Finding("operator", "fail", f"{account} logs in and sees no audit rows", "todoctl smoke")
    users = len({row["user_id"] for row in rows})
    return Finding("operator", "ok", f"{account} logs in and sees audit rows of {users} users")
