"""What is observed of an environment on this machine: every part's health, lag of the groups, age of the outbox."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from todoctl import __version__
from todoctl.adapters import sidecar
from todoctl.adapters.processes import identity, supervisor
from todoctl.core.dapr import replica_name
from todoctl.core.parts import OPERATOR_ROLE, Part
from todoctl.core.ports import LOOPBACK
from todoctl.core.values import Values
from todoctl.errors import TodoctlError
from todoctl.operations.local import readiness, running
from todoctl.operations.local.state import State
from todoctl.operations.status import PartStatus, Status, lag, outbox
from todoctl.settings import Settings


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
        lags = [
            pool.submit(lag, values, app, [replica_name(app)], lambda: readiness.broker(state))
            for app, service in values.services.items()
            if service.subscribes
        ]
        box = pool.submit(outbox, lambda: state.secrets.database_url(OPERATOR_ROLE, state.ports["postgres"]))
        seen = tuple(look.result() for look in looks)
        behind = tuple(row for future in lags for row in future.result())
        waiting = box.result()
    healthy = all(part.healthy for part in seen)
    return Status(settings.name, healthy, running.observed(settings), seen, behind, waiting)


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
