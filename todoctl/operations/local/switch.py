"""Takes the platform from one release to another, service by service, and back again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from todoctl.adapters import migrations, postgres
from todoctl.adapters.processes import supervisor
from todoctl.core.parts import OWNER_ROLE, roles, sidecar_name
from todoctl.core.topics import wanted_topics
from todoctl.errors import TodoctlError
from todoctl.operations.kafka import apply
from todoctl.operations.local import beside, readiness
from todoctl.operations.local.up import Run, Up, starter
from todoctl.operations.steps import Step, StepEvent, Tell, run_steps

_LAST_STEP_SECONDS = 60.0  # how long going back waits for the step that was running


class _StoppedError(TodoctlError):
    """The change was given up while a step ran."""


@dataclass
class Switch:
    """A change from what `old` describes to what `new` does; one step at a time, so that most of it keeps serving."""

    old: Up
    new: Up
    _stopped: threading.Event = field(default_factory=threading.Event)
    _busy: threading.Lock = field(default_factory=threading.Lock)

    def there(self, *, migrates: bool) -> Iterator[StepEvent]:
        """Bring topics and schema, then each service behind its health checks; what is gone in `new` stops last.

        Raises:
            TodoctlError: the first step that failed.
        """
        _load(self.new, self.old)
        steps = [("topics", _topics(self.new)), ("roles", _roles(self.new))]
        steps += [("schema", _schema(self.new))] if migrates else []
        steps += [(name, _service(self.new, name)) for name in _programs(self.new)]
        if gone := sorted(set(_programs(self.old)) - set(_programs(self.new))):
            steps.append(("what is gone", _stop(self.new, gone)))
        yield from self._run(steps)
        _load(self.new)

    def back(self) -> Iterator[StepEvent]:
        """Have everything that was changed as it was; what was not is left alone.

        Raises:
            TodoctlError: a part does not get ready.
        """
        self._stopped.set()
        if not self._busy.acquire(timeout=_LAST_STEP_SECONDS):
            raise TodoctlError("the step that was running does not end", hint="todoctl unlock")
        self._busy.release()
        self._stopped.clear()
        _load(self.old, self.new)
        steps = [(name, _service(self.old, name)) for name in _programs(self.old)]
        if wanted_topics(self.old.values) != wanted_topics(self.new.values):
            steps.append(("topics", _topics(self.old)))
        if added := sorted(set(_programs(self.new)) - set(_programs(self.old))):
            steps.append(("what was added", _stop(self.old, added)))
        yield from self._run(steps)
        _load(self.old)

    def _run(self, steps: list[tuple[str, Run]]) -> Iterator[StepEvent]:
        chained, before = [], frozenset[str]()
        for name, run in steps:
            chained.append(Step(name, self._guarded(run), before))
            before = frozenset({name})
        yield from run_steps(chained)

    def _guarded(self, run: Run) -> Run:
        """A step that ends soon after the change was given up, so that going back is not disturbed by it."""

        def guarded(tell: Tell) -> str:
            with self._busy:
                return run(lambda detail: self._tell(tell, detail))

        return guarded

    def _tell(self, tell: Tell, detail: str) -> None:
        if self._stopped.is_set():
            raise _StoppedError("given up")
        tell(detail)


def _programs(up: Up) -> list[str]:
    """The parts that run our code or its settings, each service before its sidecar."""
    parts = up.assembly.parts
    names = [name for service in up.values.services for name in (service, sidecar_name(service))]
    return [*(name for name, part in parts.items() if part.kind == "mail"), *names]


def _load(up: Up, other: Up | None = None) -> None:
    """Have supervisord know the parts of `up`, and those of `other` as long as both are there."""
    _, changed = up.assembly.write_supervisor_config(other.assembly.parts.values() if other else ())
    if changed:
        with supervisor.connect(up.state.folders) as control:
            control.reload(replaces=False)


def _service(up: Up, name: str) -> Run:
    """Replaces a part; a service that runs is shown its next version first."""
    start = starter(up, name)

    def run(tell: Tell) -> str:
        if name not in up.values.services or not up.assembly.spec_differs(name) or not _runs(up, name):
            return start(tell)
        with beside.next_version(up, name, tell):
            return start(lambda _detail: tell("the new one beside it serves while the old one is replaced"))

    return run


def _runs(up: Up, name: str) -> bool:
    with supervisor.connect(up.state.folders) as control:
        process = control.processes().get(name)
    return process is not None and process.is_running


def _stop(up: Up, names: list[str]) -> Run:
    def run(_tell: Tell) -> str:
        with supervisor.connect(up.state.folders) as control:
            known = control.processes().keys() & set(names)
            return f"{', '.join(control.stop(sorted(known)))} stopped"

    return run


def _topics(up: Up) -> Run:
    """What is safe is done; the rest, which loses records or moves users, waits for `todoctl topics apply`."""

    def run(_tell: Tell) -> str:
        wanted, broker = wanted_topics(up.values), readiness.broker(up.state)
        found = apply.plan(broker, wanted)
        safe = [item for item in found if item.verdict == "safe"]
        told = [f"{item.topic} {item.setting}: {item.want}" for item in apply.execute(broker, wanted, safe)]
        told += [f"{item.topic} keeps {item.setting} {item.have} ({item.why})" for item in found if item not in safe]
        return "; ".join(told) or f"{len(wanted)} as they should be"

    return run


def _roles(up: Up) -> Run:
    def run(_tell: Tell) -> str:
        passwords = up.state.secrets.passwords
        wanted = roles(up.values)
        url = postgres.admin_url(passwords[postgres.ADMIN], up.state.ports["postgres"])
        postgres.ensure_roles(url, {role: passwords[role] for role in wanted})
        return f"{len(wanted)} can log in"

    return run


def _schema(up: Up) -> Run:
    def run(tell: Tell) -> str:
        tell("migrating")
        url = up.state.secrets.database_url(OWNER_ROLE, up.state.ports["postgres"])
        assembly = up.assembly
        status = migrations.run(assembly.python, assembly.code_environ, url, "upgrade", seconds=up.seconds)
        return f"at {status['current']}"

    return run
