"""Waits until a part proves that it works: its own process owns the port and the real path answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from todoctl.adapters import postgres, sidecar
from todoctl.adapters.kafka import client, groups
from todoctl.adapters.processes import identity, supervisor
from todoctl.core.dapr import local_group
from todoctl.core.diagnosis import likely_fix
from todoctl.core.parts import Part
from todoctl.core.ports import LOOPBACK
from todoctl.core.site import Folders
from todoctl.core.values import Values
from todoctl.errors import TodoctlError, UnhealthyError, WaitTimeoutError
from todoctl.operations.local.state import State
from todoctl.operations.steps import Tell

_DEATHS = 3  # early deaths in a row after which waiting longer is no use
_TAIL = 20  # log lines shown of a part that died

Check = Callable[[], str | None]


def wait_ready(state: State, part: Part, check: Check, tell: Tell, *, seconds: float) -> int:
    """The pid of the part, once its process owns its port and `check` finds nothing missing.

    Raises:
        UnhealthyError: the part keeps dying, or a stranger owns its port; with the end of its log.
        WaitTimeoutError: it did not get ready in time; with what was seen last.
    """
    deadline = time.monotonic() + seconds
    pause = 0.03
    while True:
        pid, missing = observe(state, part, check)
        if pid is not None and missing is None:
            return pid
        _give_up_if_dying(state.folders, part)
        if time.monotonic() > deadline:
            lines = tail(state.folders, part.name)
            raise WaitTimeoutError(
                f"{part.name} was not ready after {seconds:.0f} s: {missing}",
                detail=lines,
                hint=likely_fix(part.name, lines),
            )
        tell(missing or "starting")
        time.sleep(pause)
        pause = min(0.25, pause * 1.3)


def observe(state: State, part: Part, check: Check) -> tuple[int | None, str | None]:
    """The part's pid and what is missing for it to be healthy; None, None can't be: no process is missing one."""
    with supervisor.connect(state.folders) as control:
        process = control.processes().get(part.name)
    if process is None or not process.is_running or process.pid is None:
        return None, "is not running"
    if not identity.accepts(part.port):
        return process.pid, f"does not listen on port {part.port} yet{_waiting_for(state.folders, part)}"
    if not identity.owns_port(process.pid, part.port):
        stranger = identity.listeners({part.port}).get(part.port)
        return process.pid, f"port {part.port} is taken by {identity.name_of(stranger)}"
    try:
        return process.pid, check()
    except TodoctlError as error:
        return process.pid, error.message


def check_for(part: Part, values: Values, state: State) -> Check:
    """The proof that a part works, by its kind."""
    if part.kind == "database":
        url = postgres.admin_url(state.secrets.passwords[postgres.ADMIN], part.port)
        return lambda: _nothing(postgres.version(url))
    if part.kind == "broker":
        return lambda: _nothing(client.cluster_id(broker(state)))
    if part.kind == "scheduler":
        return lambda: sidecar.answers(f"http://{LOOPBACK}:{part.ports['health']}/healthz")
    if part.kind == "mail":
        # That its own process listens on its port is known by now.
        return lambda: None
    if part.kind == "service":
        return lambda: sidecar.answers(f"http://{LOOPBACK}:{part.port}/healthz")
    app = part.name.removesuffix("-daprd")
    return lambda: sidecar.sidecar_is_ready(part.port, app) or missing_subscription(values, state, app)


def missing_subscription(values: Values, state: State, app: str) -> str | None:
    """None when the app's group holds every partition that it subscribes to; otherwise what it lacks."""
    subscriptions = values.services[app].subscribes
    names = {local_group(app, item) for item in subscriptions}
    found = {name: groups.group(broker(state), name) for name in names}
    for item in subscriptions:
        group = found[local_group(app, item)]
        held, partitions = len(group.assigned.get(item.topic, ())), values.topics[item.topic].partitions
        if held < partitions:
            return f"group {group.name} ({group.state.lower()}) holds {held} of {partitions} partitions of {item.topic}"
    return None


def service_is_ready(state: State, name: str) -> str | None:
    """None when the service says that it can work; otherwise what it says is missing."""
    return sidecar.answers(f"http://{LOOPBACK}:{state.ports[name]}/readyz")


def broker(state: State) -> client.Broker:
    """The environment's broker.

    Raises:
        UnhealthyError: nobody listens on its port; Kafka's client would say so only after its own deadline.
    """
    if not identity.accepts(state.ports["kafka"]):
        raise UnhealthyError(f"Kafka does not listen on port {state.ports['kafka']}", hint="todoctl up")
    return client.Broker({"bootstrap.servers": f"{LOOPBACK}:{state.ports['kafka']}"})


def tail(folders: Folders, name: str, count: int = _TAIL) -> tuple[str, ...]:
    """The last lines of a part's log."""
    path = folders.logs / f"{name}.log"
    return tuple(_last_lines(path, count))


def _last_lines(path: Path, count: int) -> list[str]:
    try:
        with path.open("rb") as stream:
            stream.seek(0, 2)
            stream.seek(max(0, stream.tell() - 64 * 1024))
            return stream.read().decode("utf-8", errors="replace").splitlines()[-count:]
    except OSError:
        return []


def _waiting_for(folders: Folders, part: Part) -> str:
    last = _last_lines(folders.logs / f"{part.name}.log", 1)
    return f" ({last[0].partition('waiting for ')[2][:60]} missing)" if last and "waiting for " in last[0] else ""


def check_alive(state: State, pids: Mapping[str, int]) -> None:
    """Return when every part is still the process that proved itself.

    Raises:
        UnhealthyError: one died afterwards; with the end of its log.
    """
    with supervisor.connect(state.folders) as control:
        processes = control.processes()
    for name, pid in pids.items():
        if processes[name].pid != pid:
            lines = tail(state.folders, name)
            raise UnhealthyError(f"{name} died after it was ready", detail=lines, hint=likely_fix(name, lines))


def keeps_dying(folders: Folders, part: Part) -> bool:
    """Whether the part died so often in a row that waiting longer is no use."""
    return identity.early_deaths(_identity(folders, part)) >= _DEATHS


def forget_deaths(folders: Folders, part: Part) -> None:
    """Count early deaths from now on."""
    _identity(folders, part).unlink(missing_ok=True)


def _identity(folders: Folders, part: Part) -> Path:
    return folders.run / f"{part.name}.json"


def _give_up_if_dying(folders: Folders, part: Part) -> None:
    if keeps_dying(folders, part):
        lines = tail(folders, part.name)
        raise UnhealthyError(
            f"{part.name} died {_DEATHS} times in a row after its start",
            detail=lines,
            hint=likely_fix(part.name, lines),
        )


def _nothing(_seen: object) -> None:
    """The call did not raise: nothing is missing."""
