"""Restarts services with their sidecars, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from todoctl.adapters.processes import supervisor
from todoctl.core.parts import sidecar_name
from todoctl.errors import UsageError
from todoctl.operations.local import up
from todoctl.operations.steps import Step, StepEvent, Tell, run_steps


def restart(run: up.Up, names: Sequence[str]) -> Iterator[StepEvent]:
    """Stop and start each named service and its sidecar; yields until they prove themselves again.

    Raises:
        UsageError: a name is not a service; the message lists those that are.
    """
    services = run.values.services
    if unknown := [name for name in names if name not in services]:
        raise UsageError(f"no service is called {', '.join(map(repr, unknown))}; there are: {', '.join(services)}")
    steps = []
    for name in names:
        parts = (name, sidecar_name(name))
        steps.append(Step(f"stop {name}", _stop(run, parts)))
        steps += [Step(part, up.starter(run, part), frozenset({f"stop {name}"})) for part in parts]
    yield from run_steps(steps)


def _stop(run: up.Up, parts: tuple[str, ...]) -> up.Run:
    def stop(_tell: Tell) -> str:
        with supervisor.connect(run.state.folders) as control:
            return f"{', '.join(control.stop(parts))} stopped"

    return stop
